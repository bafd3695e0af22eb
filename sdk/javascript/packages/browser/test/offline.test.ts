// The queue's copy in storage: reloads, closed tabs, leases, quotas, holds.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createAnalytics } from '../src/analytics.js'
import { offline } from '../src/offline.js'
import type { Analytics, Message, Options } from '../src/types.js'
import { FakeLocks, FakePage, FakeStorage, type Surroundings } from './fake.js'

/** A page of the same site and visitor: `given` has the storage and locks that its tabs share. */
async function tab(
  given: Surroundings,
  options: Options = {},
  answer?: FakePage['answer'],
): Promise<[FakePage, Analytics]> {
  const page = new FakePage(given)
  if (answer) page.answer = answer
  const sdk = createAnalytics(page.platform(), 'wk', { host: 'https://c.example', ...options }, offline)
  await page.advance(0)
  return [page, sdk]
}

const events = (page: FakePage) => page.sent().map((message) => message.event)
const LATE = '0{"messageId":"m","type":"track","event":"late"}'
const kept = (storage: FakeStorage) => Object.keys(storage).filter((key) => key.length > 60)

test('an event is in storage when the page is idle, and gone when it is delivered', async () => {
  const storage = new FakeStorage()
  const [page, sdk] = await tab({ storage, locks: new FakeLocks() })
  sdk.track('A')
  assert.equal(kept(storage).length, 0)
  await page.advance(0)
  assert.equal(kept(storage).length, 1)
  await page.advance(500)
  assert.equal(kept(storage).length, 0)
})

test('a page that crashed leaves its events to the next one, with their ids', async () => {
  const storage = new FakeStorage()
  const [first, sdk] = await tab({ storage, locks: new FakeLocks() })
  first.answer = () => 'reset'
  sdk.track('A')
  await first.advance(500)
  const [second] = await tab({ storage, locks: new FakeLocks() })
  await second.advance(0)
  assert.deepEqual(second.sent()[0]!.messageId, first.sent()[0]!.messageId)
  assert.equal(kept(storage).length, 0)
})

for (const [name, locks] of [
  ['Web Locks', new FakeLocks()],
  ['leases', undefined],
] as const) {
  test(`with ${name} a living tab's events are its own, a closed tab's are taken over by one`, async () => {
    const shared = { storage: new FakeStorage(), locks }
    const [first, sdk] = await tab(shared)
    const [second] = await tab(shared)
    const [third] = await tab(shared)
    for (const page of [first, second, third]) page.answer = () => 'reset'
    sdk.track('A')
    await first.advance(500)
    for (const page of [second, third]) await page.advance(20_000)
    assert.deepEqual([events(second), events(third)], [[], []])
    first.raise('pagehide')
    await first.rest()
    for (const page of [second, third]) {
      page.answer = () => ({ status: 200 })
      await page.advance(20_000)
    }
    assert.deepEqual([...events(second), ...events(third)], ['A'])
  })
}

test('with leases a tab that has been silent for long has ended', async () => {
  const storage = new FakeStorage()
  const [first, sdk] = await tab({ storage })
  first.answer = () => 'reset'
  sdk.track('A')
  await first.advance(500)
  const [second] = await tab({ storage })
  await second.advance(60_000)
  assert.deepEqual(events(second), [])
  await second.advance(60_000)
  assert.deepEqual(events(second), ['A'])
})

test('answers that count are counted over reloads', async () => {
  const storage = new FakeStorage()
  const visit = (answer: FakePage['answer']) =>
    tab({ storage, locks: new FakeLocks(), random: 0 }, { maxRetries: 2 }, answer)
  const failsOnce: FakePage['answer'] = (_request, n) => (n > 1 ? 'silent' : { status: 500 })
  const [first, sdk] = await visit(failsOnce)
  sdk.track('A')
  await first.advance(500)
  await visit(failsOnce)
  const [, last] = await visit(() => ({ status: 500 }))
  const report = last.flush(0)
  await first.rest()
  assert.equal((await report).dropped[0]!.reason, 'retries_exhausted')
  assert.equal(kept(storage).length, 0)
})

test('a pause that the server asked for holds on the next page, and not beyond five minutes', async () => {
  const storage = new FakeStorage()
  const [first, sdk] = await tab({ storage, locks: new FakeLocks() })
  first.answer = () => ({ status: 429, headers: { 'Retry-After': '60' } })
  sdk.track('A')
  await first.advance(500)
  const [second] = await tab({ storage, locks: new FakeLocks(), clock: first.time })
  await second.advance(59_000)
  assert.deepEqual(events(second), [])
  await second.advance(1000)
  assert.deepEqual(events(second), ['A'])
})

test('a full storage costs nothing but the copy', async () => {
  const storage = new FakeStorage(3)
  const [page, sdk] = await tab({ storage, locks: new FakeLocks() })
  for (const name of ['A', 'B', 'C', 'D']) sdk.track(name)
  await page.advance(500)
  assert.deepEqual(events(page), ['A', 'B', 'C', 'D'])
  assert.equal(kept(storage).length, 0)
})

test('while sending is held nothing of the queue is written, and all of it goes afterwards', async () => {
  const storage = new FakeStorage()
  const [page, sdk] = await tab({ storage, locks: new FakeLocks() })
  let release = () => {}
  sdk.hold(
    new Promise<void>((resolve) => {
      release = resolve
    }),
  )
  sdk.track('A')
  page.raise('pagehide')
  await page.advance(10_000)
  assert.deepEqual([page.requests.length, kept(storage).length], [0, 0])
  release()
  await page.advance(0)
  assert.deepEqual(events(page), ['A'])
})

test('a page that is hidden sends with keepalive within 60,000 bytes and keeps the rest in storage', async () => {
  const storage = new FakeStorage()
  const [page, sdk] = await tab({ storage, locks: new FakeLocks() })
  page.answer = () => 'silent'
  for (let n = 0; n < 10; n++) sdk.track('A', { text: 'x'.repeat(10_000) })
  page.visibility = 'hidden'
  page.raise('visibilitychange')
  page.raise('pagehide')
  assert.equal(page.requests.length, 1)
  assert.ok(page.requests[0]!.keepalive)
  assert.ok(page.requests[0]!.body.length < 64 * 1024)
  assert.equal(kept(storage).length, 10)
})

test('a page back from the cache hands over what another one took meanwhile', async () => {
  const shared = { storage: new FakeStorage(), locks: new FakeLocks() }
  const [first, sdk] = await tab(shared)
  first.answer = () => ({ status: 503 })
  const outcome = sdk.track('A')
  await first.advance(500)
  first.raise('pagehide')
  await first.rest()
  const [second] = await tab(shared)
  await second.advance(0)
  assert.deepEqual(events(second), ['A'])
  first.raise('pageshow', { persisted: true })
  await first.rest()
  assert.equal((await outcome).status, 'handed_over')
  const before = first.requests.length
  first.answer = () => ({ status: 200 })
  sdk.track('B')
  const report = sdk.flush()
  await first.advance(60_000)
  assert.equal((await report).queued, 0)
  assert.deepEqual(
    first.requests
      .slice(before)
      .flatMap(({ body }) => JSON.parse(body).batch.map((one: Message) => one.event)),
    ['B'],
  )
})

test('a prerendered page sends when it is shown', async () => {
  const [page, sdk] = await tab({ prerendering: true })
  sdk.page()
  await page.advance(10_000)
  assert.equal(page.requests.length, 0)
  page.raise('prerenderingchange')
  await page.advance(0)
  assert.equal(page.sent().length, 1)
})

test('back online the next attempt is at once, unless the server asked for a pause', async () => {
  const [page, sdk] = await tab({ random: 0.999 })
  page.answer = () => 'reset'
  sdk.track('A')
  await page.advance(20_000)
  page.answer = () => ({ status: 200 })
  const before = page.requests.length
  page.raise('online')
  await page.advance(0)
  assert.equal(page.requests.length, before + 1)
})

test('what a tab wrote at its very end is taken over too, by the page that took over the rest', async () => {
  const shared = { storage: new FakeStorage(), locks: new FakeLocks() }
  const [ended, sdk] = await tab(shared)
  ended.answer = () => 'reset'
  sdk.track('A')
  await ended.advance(500)
  const of = kept(shared.storage)[0]!
  ended.raise('pagehide')
  await ended.rest()
  const [heir] = await tab(shared)
  await heir.advance(0)
  // Written before its end, but visible to other processes only later.
  assert.deepEqual(events(heir), ['A'])
  shared.storage.setItem(`${of.slice(0, -1)}z`, LATE)
  await heir.advance(20_000)
  assert.deepEqual([events(heir), kept(shared.storage)], [['A', 'late'], []])
})

test('what is no event in storage is removed and spoils nothing', async () => {
  const storage = new FakeStorage()
  storage.setItem(`hw:wk:${'1'.repeat(36)}${'0'.repeat(36)}`, '0{"messageId":"m","type":"tra')
  storage.setItem(`hw:wk:${'1'.repeat(36)}${'1'.repeat(36)}`, LATE)
  storage.setItem(`hw:wk:${'1'.repeat(36)}${'2'.repeat(36)}`, 'nothing')
  const [page] = await tab({ storage, locks: new FakeLocks() })
  await page.advance(500)
  assert.deepEqual([events(page), kept(storage)], [['late'], []])
})

test('most of the storage of a site stays its own', async () => {
  const storage = new FakeStorage()
  const [page, sdk] = await tab({ storage, locks: new FakeLocks() })
  page.answer = () => 'reset'
  for (let n = 0; n < 200; n++) sdk.track('A', { text: 'x'.repeat(30_000) })
  await page.advance(1000)
  const size = kept(storage).reduce((sum, key) => sum + storage.getItem(key)!.length, 0)
  assert.ok(size > 1_900_000 && size < 2_010_000, `${size} characters`)
  page.answer = () => ({ status: 200 })
  await page.advance(120_000)
  assert.deepEqual([new Set(page.sent().map(({ messageId }) => messageId)).size, kept(storage)], [200, []])
})
