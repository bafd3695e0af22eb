// Who the calls are about: scopes, explicit and around running code; and what middleware does with messages.
import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { offline } from './support/offline.js'

test('a client of a scope puts user, account and context on its calls, which may say otherwise', async () => {
  const { analytics, time, messages } = offline()
  const acme = analytics.with({
    userId: 'u1',
    account: 'acme',
    ip: '192.0.2.1',
    context: { app: { name: 'Shop' } },
  })
  acme.track({ event: 'A' })
  acme.track({ userId: 'u2', event: 'B', context: { groupId: 'other' } })
  acme.b2b.signedIn({ accountId: 'third' })
  analytics.track({ userId: 'u3', event: 'C' })
  await time.until(analytics.flush())
  const [a, b, signedIn, c] = messages()
  assert.deepEqual([a?.userId, a?.context.groupId, a?.context.ip], ['u1', 'acme', '192.0.2.1'])
  assert.deepEqual([b?.userId, b?.context.groupId], ['u2', 'other'])
  assert.deepEqual([signedIn?.userId, signedIn?.context.groupId], ['u1', 'third'])
  assert.deepEqual(Object.keys(c?.context ?? {}), ['library'])
})

test('code that runs within a scope, and what it awaits, carries it; neighbours do not mix', async () => {
  const { analytics, time, messages } = offline()
  const request = (userId: string, account: string) =>
    analytics.withContext({ userId, account }, async () => {
      analytics.track({ event: 'first' })
      await setImmediate()
      await analytics.withContext({ context: { step: 2 } }, async () => {
        await setImmediate()
        analytics.track({ event: 'second' })
      })
    })
  await Promise.all([request('u1', 'acme'), request('u2', 'globex')])
  await time.until(analytics.flush())
  const seen = messages().map(({ userId, event, context }) => [userId, event, context.groupId, context.step])
  assert.deepEqual(seen.sort(), [
    ['u1', 'first', 'acme', undefined],
    ['u1', 'second', 'acme', 2],
    ['u2', 'first', 'globex', undefined],
    ['u2', 'second', 'globex', 2],
  ])
})

test('what is nearer wins: the call, its client, the code around it, the account set for all', async () => {
  const { analytics, time, messages } = offline()
  analytics.setAccount('all')
  const near = analytics.with({ account: 'client' })
  analytics.withContext({ userId: 'u1', account: 'around' }, () => {
    near.track({ event: 'A', context: { groupId: 'call' } })
    near.track({ event: 'B' })
    analytics.track({ event: 'C' })
    analytics.with({ account: null }).track({ event: 'D' })
  })
  analytics.track({ userId: 'u1', event: 'E' })
  await time.until(analytics.flush())
  assert.deepEqual(
    messages().map(({ context }) => context.groupId),
    ['call', 'client', 'around', undefined, 'all'],
  )
})

test('middleware changes messages in order, and may leave one out', async () => {
  const { analytics, time, messages } = offline()
  analytics.use((message) => (message.event === 'Secret' ? null : message))
  analytics.use((message) => ({ ...message, context: { ...message.context, tag: 1 } }))
  analytics.track({ userId: 'u1', event: 'Secret' })
  analytics.track({ userId: 'u1', event: 'Open' })
  const report = await time.until(analytics.flush())
  assert.deepEqual(report.dropped, [{ messageId: 'm1', type: 'track', reason: 'middleware' }])
  assert.deepEqual(
    messages().map(({ event, context }) => [event, context.tag]),
    [['Open', 1]],
  )
})

test('middleware that throws, now or later, costs its event: what it should have removed is not sent', async (t) => {
  const warn = mock.method(console, 'warn', () => {})
  t.after(() => warn.mock.restore())
  const { analytics, time, requests } = offline()
  analytics.on('error', () => {})
  analytics.use((message) => {
    if (message.event === 'now') throw new Error('broken')
    return message
  })
  analytics.use(async () => {
    throw new Error('broken later')
  })
  analytics.track({ userId: 'u1', event: 'now' })
  analytics.track({ userId: 'u1', event: 'later' })
  const report = await time.until(analytics.flush())
  assert.deepEqual([report.droppedCount, requests.length, report.queued], [2, 0, 0])
})

test("Segment's enrichment plug-ins run, sync or async, and can be removed", async () => {
  const { analytics, time, messages } = offline()
  const before = { name: 'before', properties: { plan: 'pro' } }
  await analytics.register({
    name: 'enrich',
    type: 'enrichment',
    isLoaded: () => true,
    load: () => Promise.resolve(),
    track: (ctx) => {
      ctx.updateEvent('properties.plan', 'free')
      ctx.updateEvent('context.app.name', 'Shop')
      return ctx
    },
  })
  await analytics.register({ name: 'slow', type: 'before', track: async (ctx) => ctx })
  analytics.track({ userId: 'u1', event: 'A', properties: before.properties })
  await time.until(analytics.flush())
  await analytics.deregister('enrich', 'slow')
  analytics.track({ userId: 'u1', event: 'A', properties: before.properties })
  await time.until(analytics.flush())
  assert.deepEqual(
    messages().map(({ properties }) => properties?.plan),
    ['free', 'pro'],
  )
  assert.deepEqual(messages()[0]?.context.app, { name: 'Shop' })
})
