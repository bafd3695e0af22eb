// First and last touch: what an arrival is, what is remembered of it, and for how long.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { arrive, fresh, touchOf } from '../../src/plugins/attribution.js'
import { attribution } from '../../src/plugins/index.js'
import type { Json, Message } from '../../src/types.js'
import { fakeSdk, mapStorage, message } from './fakes.js'

const DAY = 86_400_000
const START = Date.parse('2026-01-02T03:00:00.000Z')
const SHOP = 'https://shop.example'

interface Visit {
  day?: number
  search?: string
  referrer?: string
  campaign?: Json
}

/** An event of a page of the shop. */
function event({ day = 0, search = '', referrer = '', campaign }: Visit): Message {
  const page = { url: `${SHOP}/p${search}`, search, referrer }
  return message({ page, campaign }, { timestamp: new Date(START + day * DAY).toISOString() })
}

/** The contexts that events of one visitor leave with. */
function visits(all: Visit[], plugin = attribution(), storage = mapStorage()) {
  Object.defineProperty(globalThis, 'location', { value: { host: 'shop.example' }, configurable: true })
  plugin.setup?.(fakeSdk(storage).sdk)
  const contexts = all.map((one) => (plugin.enrich!(event(one)) as Message).context)
  return contexts.map(({ clickIds, attribution: found }) => ({ clickIds, ...(found as Json) })) as {
    clickIds?: Json
    first?: Json
    last?: Json
  }[]
}

test('a visit that nobody brought about leaves no mark', () => {
  assert.deepEqual(visits([{}, { search: '?q=shoes' }, { referrer: `${SHOP}/before` }]), [
    { clickIds: undefined },
    { clickIds: undefined },
    { clickIds: undefined },
  ])
})

test('the id of a click stays with the events of later pages', () => {
  const [, later] = visits([{ search: '?gclid=abc&x=1' }, { day: 30, referrer: `${SHOP}/p` }])
  const touch = { at: START, url: `${SHOP}/p`, clickIds: { gclid: 'abc' } }
  assert.deepEqual(later, { clickIds: { gclid: 'abc' }, first: touch, last: touch })
})

test('first stays, last moves on, and the latest id of each platform is kept', () => {
  const found = visits([
    { search: '?gclid=g1', campaign: { source: 'google' } },
    { day: 1, search: '?fbclid=f1' },
    { day: 2, referrer: 'https://news.example/article?id=7' },
    { day: 3, search: '?gclid=g2' },
  ]).at(-1)!
  assert.deepEqual(found.clickIds, { gclid: 'g2', fbclid: 'f1' })
  assert.deepEqual([found.first?.campaign, found.first?.at], [{ source: 'google' }, START])
  assert.deepEqual([found.last?.clickIds, found.last?.at], [{ gclid: 'g2' }, START + 3 * DAY])
})

test('several events of one landing page are one arrival, however long it stays open', () => {
  const found = visits([{ search: '?gclid=g1' }, { day: 2, search: '?gclid=g1' }])
  assert.equal(found[1]?.last?.at, START)
})

test('a reload is the same arrival, the same link a day later is another one', () => {
  const storage = mapStorage()
  const link = { search: '?utm_source=news', campaign: { source: 'news' } }
  const at = (day: number) => visits([{ ...link, day }], attribution(), storage)[0]?.last?.at
  assert.deepEqual([at(0), at(0.01), at(1)], [START, START, START + DAY])
})

test('another site is named by its origin only', () => {
  const [found] = visits([{ referrer: 'https://news.example/article?token=secret' }])
  assert.equal(found?.last?.referrer, 'https://news.example')
})

test('what is older than ninety days is forgotten', () => {
  const last = { search: '?fbclid=f1', day: 60 }
  const found = visits([{ search: '?gclid=g1' }, last, { day: 91 }, { day: 151 }])
  assert.deepEqual(found[2]?.clickIds, { fbclid: 'f1' })
  assert.equal(found[2]?.first?.at, START + 60 * DAY)
  assert.deepEqual(found[3], { clickIds: undefined })
  assert.equal(visits([{ search: '?gclid=g1' }, { day: 8 }], attribution({ days: 7 }))[1]?.first, undefined)
})

test("somebody else's value under our key counts as nothing", () => {
  for (const value of ['text', 7, {}, { first: {}, last: {} }, { last: { at: START } }]) {
    assert.equal(fresh(value as never, START, DAY), null)
  }
})

test('an id of any length is cut, an empty one is none', () => {
  const touch = touchOf(event({ search: `?gclid=${'x'.repeat(9_000)}&fbclid=` }), START, 'shop.example')
  assert.deepEqual(
    Object.entries(touch?.clickIds ?? {}).map(([name, value]) => [name, value.length]),
    [['gclid', 500]],
  )
  assert.equal(arrive(null, touchOf(event({ search: '?fbclid=' }), START, 'shop.example')), null)
})
