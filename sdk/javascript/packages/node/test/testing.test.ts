// The recorder that apps test with.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Recorder } from '../src/testing.js'

test('calls are there at once, as they would have been sent, and nothing is left to flush', async () => {
  const recorder = new Recorder()
  recorder.track({ userId: 'u1', event: 'Signed Up', properties: { plan: 'pro', at: new Date(0) } })
  recorder.identify({ userId: 'u1', traits: { n: 1n } })
  assert.deepEqual(
    recorder.events('Signed Up').map(({ properties }) => properties),
    [{ plan: 'pro', at: '1970-01-01T00:00:00.000Z' }],
  )
  assert.deepEqual(
    recorder.ofType('identify').map(({ traits }) => traits),
    [{ n: 1 }],
  )
  const { delivered, queued } = await recorder.flush()
  assert.deepEqual([delivered, queued], [2, 0])
  recorder.clear()
  assert.deepEqual(recorder.messages, [])
})

test('assertTracked finds an event by a part of it', () => {
  const recorder = new Recorder()
  recorder.track({
    userId: 'u1',
    event: 'Paid',
    properties: { plan: 'pro', seats: [1, 2], at: new Date(0), note: 'x' },
  })
  const found = recorder.assertTracked('Paid', {
    userId: 'u1',
    properties: { plan: 'pro', seats: [1, 2], at: new Date(0) },
  })
  assert.equal(found.properties?.note, 'x')
  recorder.assertNotTracked('Refunded')
})

test('assertTracked says what was tracked instead', () => {
  const recorder = new Recorder()
  assert.throws(() => recorder.assertTracked('Paid'), /Paid was not tracked; these were: none/)
  recorder.track({ userId: 'u1', event: 'Paid', properties: { plan: 'free', seats: [1] } })
  assert.throws(() => recorder.assertTracked('Signed Up'), /these were: Paid/)
  assert.throws(
    () => recorder.assertTracked('Paid', { properties: { plan: 'pro' } }),
    /but not with .*"plan":"pro".*\n.*"plan":"free"/,
  )
  assert.throws(() => recorder.assertTracked('Paid', { properties: { seats: [1, 2] } }), /but not with/)
  assert.throws(() => recorder.assertTracked('Paid', { groupId: 'acme' }), /but not with/)
  assert.throws(() => recorder.assertNotTracked('Paid'), /Paid was tracked 1 times/)
})

test('a bad call fails the test that makes it', () => {
  assert.throws(
    () => new Recorder().on('error', () => {}).track({ event: 'A' }),
    /needs a userId or an anonymousId/,
  )
})
