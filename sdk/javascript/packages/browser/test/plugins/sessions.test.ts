// Visits: when one begins, what its events carry.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { campaignOf, next, sessions } from '../../src/plugins/sessions.js'
import type { Message } from '../../src/types.js'
import { fakeSdk, mapStorage, message } from './fakes.js'

const MINUTE = 60_000
const START = Date.parse('2026-01-02T03:00:00.000Z')
const at = (minutes: number, search = ''): Message =>
  message({ page: { search } }, { timestamp: new Date(START + minutes * MINUTE).toISOString() })

/** Session number and whether it starts, for events at these minutes. */
function numbers(events: Message[], plugin = sessions(), storage = mapStorage()): [unknown, unknown][] {
  plugin.setup?.(fakeSdk(storage).sdk)
  return events.map((event) => {
    const { context } = plugin.enrich!(event) as Message
    return [context.sessionNumber, context.sessionStart ?? false]
  })
}

test('a pause of half an hour ends a visit, a shorter one does not', () => {
  assert.deepEqual(numbers([at(0), at(29.99), at(59), at(89)]), [
    [1, true],
    [1, false],
    [1, false],
    [2, true],
  ])
})

test('the id is the time of the first event, so that it fits the view of the tables', () => {
  const plugin = sessions()
  plugin.setup?.(fakeSdk().sdk)
  plugin.enrich!(at(0))
  assert.equal((plugin.enrich!(at(5)) as Message).context.sessionId, START)
})

test('another campaign begins a visit, the same one and none do not', () => {
  const first = '?utm_source=news&utm_medium=mail'
  const events = [
    at(0, first),
    at(1),
    at(2, '?utm_medium=mail&x=1&utm_source=news'),
    at(3, '?gclid=abc'),
    at(4),
  ]
  assert.deepEqual(
    numbers(events).map(([number]) => number),
    [1, 1, 1, 2, 2],
  )
})

test('a reload goes on with the stored visit', () => {
  const storage = mapStorage()
  numbers([at(0)], sessions(), storage)
  assert.deepEqual(numbers([at(10)], sessions(), storage), [[1, false]])
})

test('the length of the pause can be set', () => {
  assert.deepEqual(numbers([at(0), at(6)], sessions({ minutes: 5 })).at(-1), [2, true])
})

test("somebody else's value under our key begins a first visit", () => {
  for (const value of ['text', {}, { id: 'x', number: 1, last: 2 }, 7]) {
    const storage = mapStorage()
    storage.set('headwater_session', value)
    assert.deepEqual(numbers([at(0)], sessions(), storage), [[1, true]])
  }
})

test('a clock that was set back ends no visit', () => {
  const session = next(null, START, '', 30 * MINUTE)
  assert.equal(next(session, START - 86_400_000, '', 30 * MINUTE).id, START)
})

test('only what advertisers add makes a campaign', () => {
  assert.equal(campaignOf(at(0, '?q=shoes&page=2')), '')
  assert.equal(campaignOf(message()), '')
  assert.equal(campaignOf(at(0, '?b=1&utm_term=t&fbclid=f')), 'fbclid=f&utm_term=t')
})
