// The surface: what calls return, whom they tell, how ids and traits live, and that nothing is ever thrown.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createAnalytics } from '../src/analytics.js'
import { offline } from '../src/offline.js'
import type { Analytics, Json, Options, Outcome } from '../src/types.js'
import { FakePage, type Surroundings } from './fake.js'

function open(given: Surroundings = {}, options: Options = {}): [FakePage, Analytics] {
  const page = new FakePage(given)
  return [page, createAnalytics(page.platform(), 'wk', { host: 'https://c.example/', ...options }, offline)]
}

test('a call is sent after a short wait for company, and its promise and callback tell what became of it', async () => {
  const [page, sdk] = open()
  const heard: string[] = []
  const promise = sdk.track('A', { n: 1 }, null, (settled) => heard.push(settled.status))
  sdk.track('B')
  await page.advance(499)
  assert.equal(page.requests.length, 0)
  await page.advance(1)
  assert.equal(page.requests.length, 1)
  assert.equal(page.requests[0]!.url, 'https://c.example/v1/b')
  const settled = await promise
  assert.deepEqual([settled.status, settled.event!.event, heard], ['delivered', 'A', ['delivered']])
})

test('a full request leaves at once', async () => {
  const [page, sdk] = open({}, { flushAt: 3 })
  for (const name of ['A', 'B', 'C']) sdk.track(name)
  await page.advance(0)
  assert.equal(page.sent().length, 3)
})

test('listeners hear calls with their arguments, once listeners once, and one that throws disturbs nobody', async () => {
  const [, sdk] = open()
  const heard: unknown[] = []
  const listener = (...args: unknown[]) => heard.push(args)
  sdk.on('track', listener).once('track', listener)
  sdk.track('A', { a: 1 })
  sdk.track('B')
  sdk.off('track', listener)
  sdk.track('C')
  assert.deepEqual(heard, [
    ['A', { a: 1 }, {}],
    ['A', { a: 1 }, {}],
    ['B', {}, {}],
  ])
})

test('another user gets a new anonymous id and none of the old traits, the same user keeps both', () => {
  const [, sdk] = open()
  const first = sdk.user().anonymousId()
  sdk.identify('u1', { plan: 'pro' })
  sdk.identify('u1', { seats: 2 })
  assert.deepEqual([sdk.user().id(), sdk.user().traits()], ['u1', { plan: 'pro', seats: 2 }])
  assert.equal(sdk.user().anonymousId(), first)
  sdk.identify('u2', { seats: 9 })
  assert.deepEqual([sdk.user().id(), sdk.user().traits()], ['u2', { seats: 9 }])
  assert.notEqual(sdk.user().anonymousId(), first)
})

test('reset forgets user, group and anonymous id', () => {
  const [page, sdk] = open()
  sdk.identify('u1', { plan: 'pro' })
  sdk.group('acme', { size: 7 })
  const before = sdk.user().anonymousId()
  sdk.reset()
  assert.deepEqual(
    [sdk.user().id(), sdk.user().traits(), sdk.group().id(), sdk.group().traits()],
    [null, {}, null, {}],
  )
  assert.equal(page.cookie, '')
  assert.notEqual(sdk.user().anonymousId(), before)
})

test('ids that an older analytics.js stored as JSON or as numbers are strings', () => {
  const [, sdk] = open({ cookie: 'ajs_user_id=%22u%201%22; ajs_group_id=157963456373623802' })
  assert.deepEqual([sdk.user().id(), sdk.group().id()], ['u 1', '157963456373623802'])
})

for (const [name, surroundings] of [
  ['without cookies', { cookies: false }],
  ['without localStorage', { storage: null }],
  ['with neither', { cookies: false, storage: null }],
] as const) {
  test(`${name} a visitor keeps ids and traits while the page lives`, async () => {
    const [page, sdk] = open(surroundings)
    sdk.identify('u1', { plan: 'pro' })
    sdk.track('A')
    await page.advance(500)
    assert.deepEqual([sdk.user().id(), sdk.user().traits()], ['u1', { plan: 'pro' }])
    assert.equal(new Set(page.sent().map((message) => message.anonymousId)).size, 1)
  })
}

test('campaign is what utm_ parameters say', async () => {
  const [page, sdk] = open({ url: 'https://shop.example/?utm_campaign=spring+sale&utm_source=mail&x=utm_no' })
  sdk.page()
  await page.advance(500)
  const context = page.sent()[0]!.context as Json
  assert.deepEqual(context.campaign, { name: 'spring sale', source: 'mail' })
})

test('what cannot be serialised is dropped and reported, and its neighbours go', async () => {
  const [page, sdk] = open()
  const errors: Outcome[] = []
  sdk.on('error', (outcome: Outcome) => errors.push(outcome))
  const cycle: Json = {}
  cycle.self = cycle
  const settled = await sdk.track('Cycle', cycle)
  sdk.track('Fine')
  await page.advance(500)
  assert.deepEqual(
    [settled.status, settled.code, errors[0]!.code],
    ['dropped', 'not_serialisable', 'not_serialisable'],
  )
  assert.deepEqual(
    page.sent().map((message) => message.event),
    ['Fine'],
  )
})

test('calls without sense are answered, not thrown', async () => {
  const [page, sdk] = open()
  const odd = sdk as unknown as Record<string, (...args: unknown[]) => Promise<Outcome>>
  const outcomes = await Promise.all([odd.track!(), odd.track!(null), odd.track!({}), odd.track!('')])
  assert.deepEqual(
    outcomes.map(({ status, code }) => `${status} ${code}`),
    Array(4).fill('rejected event_not_defined'),
  )
  for (const call of ['identify', 'page', 'screen', 'alias']) odd[call]!(undefined, undefined, undefined)
  odd.track!('bad time', {}, { timestamp: 'never' })
  await page.advance(500)
  assert.equal(page.sent().length, 5)
})

test('middleware changes, drops and keeps order while it thinks', async () => {
  const [page, sdk] = open()
  sdk.addSourceMiddleware(async ({ payload, next }) => {
    if (payload.obj.event === 'slow') await Promise.resolve()
    payload.obj.properties = { ...payload.obj.properties, seen: true }
    next(payload.obj.event === 'drop' ? null : payload)
  })
  const dropped = sdk.track('drop')
  for (const name of ['slow', 'fast']) sdk.track(name)
  await page.advance(500)
  assert.equal((await dropped).code, 'source_middleware')
  assert.deepEqual(
    page.sent().map(({ event, properties }) => [event, properties]),
    [
      ['slow', { seen: true }],
      ['fast', { seen: true }],
    ],
  )
})

test('a plug-in that throws is reported and passed over', async () => {
  const broken = {
    name: 'broken',
    enrich() {
      throw new Error('no')
    },
  }
  const [page, sdk] = open({}, { plugins: [broken] })
  const errors: Outcome[] = []
  sdk.on('error', (outcome: Outcome) => errors.push(outcome))
  sdk.track('A')
  await page.advance(500)
  assert.deepEqual([page.sent().length, errors[0]!.code], [1, 'broken'])
})

test('a flush waits for plug-ins too, and says what they still hold when time is over', async () => {
  const never = { name: 'never', enrich: () => new Promise<null>(() => {}) }
  const [page, sdk] = open({}, { plugins: [never] })
  sdk.track('A')
  const report = sdk.flush(1000)
  await page.advance(1000)
  assert.equal((await report).queued, 1)
})

test('lists of a report are bounded, its counts are not', async () => {
  const [page, sdk] = open({}, { maxQueueEvents: 1 })
  for (let n = 0; n < 1500; n++) sdk.track('A')
  const promise = sdk.flush()
  await page.advance(0)
  const report = await promise
  assert.deepEqual([report.dropped.length, report.droppedCount, report.delivered], [1000, 1499, 1])
})

test('debug prints calls and what became of them', async () => {
  const [page, sdk] = open()
  sdk.debug()
  sdk.track('A')
  await page.advance(500)
  assert.deepEqual(
    page.printed.map((line) => line[1]),
    ['track', 'delivered'],
  )
})
