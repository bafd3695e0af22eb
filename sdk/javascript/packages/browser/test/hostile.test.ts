// What pages, plug-ins, storage and settings do wrong: nothing is lost, nothing stops, nothing reaches the page.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createAnalytics } from '../src/analytics.js'
import { offline } from '../src/offline.js'
import { start } from '../src/start.js'
import type { Analytics, CallOptions, Json, Message, Options } from '../src/types.js'
import { FakeLocks, FakePage, FakeStorage, type Surroundings } from './fake.js'

function open(given: Surroundings = {}, options: Options = {}): [FakePage, Analytics] {
  const page = new FakePage(given)
  return [page, createAnalytics(page.platform(), 'wk', { host: 'https://c.example', ...options }, offline)]
}

const events = (page: FakePage) => page.sent().map((message) => message.event)

for (const value of [undefined, -1, Number.NaN, 'many']) {
  test(`a setting of ${value} is as if it were not given`, async () => {
    const wrong = value as unknown as number
    const [page, sdk] = open(
      {},
      { flushAt: wrong, timeout: wrong, maxQueueEvents: wrong, maxQueueBytes: wrong },
    )
    sdk.track('A')
    sdk.track('B')
    await page.advance(1000)
    assert.deepEqual(events(page), ['A', 'B'])
  })
}

for (const never of [Infinity, 2 ** 31]) {
  test(`a time of ${never} ms is long and not none`, async () => {
    const [page, sdk] = open({}, { timeout: never, flushInterval: never, flushAt: 2 })
    page.answer = () => 'silent'
    sdk.track('A')
    let reported = false
    sdk.flush(never).then(() => {
      reported = true
    })
    await page.advance(60_000)
    assert.deepEqual([events(page), reported], [['A'], false])
    const [other, waits] = open({}, { flushInterval: never, flushAt: 2 })
    waits.track('A')
    await other.advance(60_000)
    assert.deepEqual(events(other), [])
    waits.track('B')
    await other.advance(0)
    assert.deepEqual(events(other), ['A', 'B'])
  })
}

test('a plug-in whose answer is no JSON costs its event, not those after it', async () => {
  const cycle = (message: Message): Message => {
    if (message.event === 'bad') message.properties = { message }
    return message
  }
  const [page, sdk] = open({}, { plugins: [{ name: 'cycle', enrich: cycle }] })
  const bad = sdk.track('bad')
  sdk.track('good')
  await page.advance(500)
  assert.deepEqual(events(page), ['good'])
  assert.equal((await bad).code, 'not_serialisable')
})

test('events that plug-ins hold are bounded, and the rest is reported', async () => {
  const never = { name: 'never', enrich: () => new Promise<null>(() => {}) }
  const [page, sdk] = open({}, { plugins: [never], maxQueueEvents: 10 })
  for (let n = 0; n < 25; n++) sdk.track('A')
  const promise = sdk.flush(100)
  await page.advance(100)
  const report = await promise
  assert.deepEqual([report.queued, report.droppedCount, report.dropped[0]!.reason], [10, 15, 'queue_full'])
})

test('a hold for something that is no promise holds nothing', async () => {
  const [page, sdk] = open()
  sdk.hold(undefined as unknown as Promise<void>)
  sdk.track('A')
  await page.advance(500)
  assert.deepEqual(events(page), ['A'])
})

test('traits that cannot be read or stored cost their own call only', async () => {
  const [page, sdk] = open()
  const cycle: Json = {}
  cycle.self = cycle
  const throwing = Object.defineProperty({}, 'x', {
    enumerable: true,
    get() {
      throw new Error('no')
    },
  }) as Json
  assert.equal((await sdk.identify('u1', cycle)).code, 'not_serialisable')
  assert.equal((await sdk.identify('u1', throwing)).code, 'not_serialisable')
  sdk.identify('u1', { plan: 'pro' })
  await page.advance(500)
  assert.deepEqual(
    page.sent().map((message) => message.traits),
    [{ plan: 'pro' }],
  )
})

test('a context of null is none', async () => {
  const [page, sdk] = open()
  sdk.track('A', {}, { context: null } as unknown as CallOptions)
  await page.advance(500)
  assert.deepEqual(events(page), ['A'])
})

test('a request of no event at all is one of one', async () => {
  const [page, sdk] = open({}, { flushAt: 0 })
  for (const name of ['A', 'B']) sdk.track(name)
  await page.advance(0)
  assert.deepEqual(events(page), ['A', 'B'])
})

test('a storage that throws costs no event, and the page nothing', async () => {
  const broken = {
    get() {
      throw new Error('no')
    },
    set() {
      throw new Error('no')
    },
  }
  const [page, sdk] = open({}, { storage: broken })
  sdk.identify('u1')
  sdk.reset()
  await page.advance(500)
  assert.deepEqual(
    page.sent().map((message) => message.userId),
    ['u1'],
  )
})

test('a category without a name is a category', async () => {
  const [page, sdk] = open()
  sdk.page('Docs', '')
  sdk.page('Home')
  await page.advance(500)
  assert.deepEqual(
    page.sent().map(({ category, name }) => [category, name]),
    [
      ['Docs', undefined],
      [undefined, 'Home'],
    ],
  )
})

/** A storage that has no room for more than `room` characters. */
class Full extends FakeStorage {
  override setItem(key: string, value: string): void {
    const others = Object.keys(this).filter((known) => known !== key)
    const used = others.reduce((sum, known) => sum + known.length + this.getItem(known)!.length, 0)
    if (used + key.length + value.length > 300) throw new DOMException('full', 'QuotaExceededError')
    super.setItem(key, value)
  }
}

test('with a full storage an identify sends the traits it was given, and nobody else their old ones', async () => {
  const [page, sdk] = open({ storage: new Full() })
  sdk.identify('u1', { plan: 'pro' })
  const long = 'x'.repeat(300)
  sdk.identify('u1', { long })
  sdk.identify('u2', { long })
  await page.advance(500)
  assert.deepEqual(
    page.sent().map((message) => message.traits),
    [{ plan: 'pro' }, { plan: 'pro', long }, { long }],
  )
})

test('a pause that the server asked for holds when the page is hidden', async () => {
  const storage = new FakeStorage()
  storage.setItem('hw:wk:', `${Date.parse('2026-01-02T03:04:05.678Z') + 60_000}`)
  const [page, sdk] = open({ storage, locks: new FakeLocks() })
  await page.advance(0)
  sdk.track('A')
  page.visibility = 'hidden'
  page.raise('visibilitychange')
  await page.advance(0)
  assert.equal(page.requests.length, 0)
})

test('many calls in a hidden page travel together', async () => {
  const [page, sdk] = open()
  page.visibility = 'hidden'
  for (let n = 0; n < 20; n++) sdk.track('A')
  await page.rest()
  // The first leaves at once; the others when it is answered.
  assert.deepEqual([page.requests.length, page.sent().length], [2, 20])
})

test('a script that is in the page twice runs once', async () => {
  const scope = globalThis as unknown as Json
  const window = new FakePage().platform().window
  scope.window = window
  const page: Json = {}
  const script = {
    dataset: { writeKey: 'wk', host: 'https://c.example' },
    src: '',
  } as unknown as HTMLScriptElement
  start(page, script)
  const sdk = page.headwater
  start(page, script)
  delete scope.window
  assert.equal(page.headwater, sdk)
})

test('an element of the page that has our name is no stub', () => {
  const scope = globalThis as unknown as Json
  scope.window = new FakePage().platform().window
  const page: Json = { headwater: { id: 'headwater' } }
  const script = {
    dataset: { writeKey: 'wk', host: 'https://c.example' },
    src: '',
  } as unknown as HTMLScriptElement
  start(page, script)
  delete scope.window
  assert.equal(typeof (page.headwater as Analytics).track, 'function')
})

test('timers do not pile up while a server is away', async () => {
  const [page, sdk] = open({ random: 0.999 }, { flushAt: 2 })
  page.answer = () => 'reset'
  sdk.track('A')
  await page.advance(60_000)
  const before = page.timerCount()
  for (let n = 0; n < 100; n++) sdk.track('A')
  assert.ok(page.timerCount() - before < 5, `${page.timerCount() - before} more timers`)
})
