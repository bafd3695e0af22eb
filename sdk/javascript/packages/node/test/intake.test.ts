// A call takes what it was given: nothing that the app does afterwards changes what is sent, or its order.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AnalyticsSettings } from '../src/settings.js'
import { offline } from './support/offline.js'

/** Values of every kind that an app nests, from a chance that repeats itself. */
class Generator {
  constructor(private seed: number) {}

  below(limit: number): number {
    this.seed = (Math.imul(this.seed, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((this.seed / 2 ** 32) * limit)
  }

  object(depth: number): Record<string, unknown> {
    const object: Record<string, unknown> = this.below(8) === 0 ? Object.create(null) : {}
    for (let left = this.below(5); left > 0; left--) object[`k${this.below(9)}`] = this.value(depth)
    return object
  }

  private value(depth: number): unknown {
    const leaves = [
      'text',
      'half \ud800 of a character',
      0.5,
      Number.NaN,
      true,
      null,
      undefined,
      new Date(1_700_000_000_000 + this.below(1000)),
      new Date('never'),
    ]
    const kind = this.below(depth > 0 ? leaves.length + 8 : leaves.length)
    if (kind < leaves.length) return leaves[kind]
    if (kind < leaves.length + 3) return this.object(depth - 1)
    if (kind < leaves.length + 5) return Array.from({ length: this.below(4) }, () => this.value(depth - 1))
    return this.odd(depth - 1)
  }

  private odd(depth: number): unknown {
    const inner = this.object(depth)
    switch (this.below(5)) {
      case 0:
        return new Map(Object.entries(inner))
      case 1:
        return { big: 7n, inner }
      case 2:
        return { toJSON: () => ({ inner }), inner }
      case 3:
        return Object.defineProperty({ inner }, 'got', { get: () => ({ inner }), enumerable: true })
      default:
        return Object.assign(new (class Own {})(), { inner })
    }
  }
}

/** What JSON says of a value at this moment, with this SDK's way for what JSON does not know. */
function snapshot(value: unknown): unknown {
  const text = JSON.stringify(value, (_, item: unknown) => {
    if (item instanceof Map) return Object.fromEntries(item)
    if (typeof item === 'bigint') return Number(item)
    return typeof item === 'string' ? item.replace(/\p{Surrogate}/gu, '\ufffd') : item
  })
  return JSON.parse(text)
}

/** Changes all that can be changed. */
function spoil(value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  if (value instanceof Date) value.setTime(0)
  else if (value instanceof Map) spoilMap(value)
  else if (Array.isArray(value)) spoilList(value)
  else spoilFields(value as Record<string, unknown>)
}

function spoilMap(map: Map<unknown, unknown>): void {
  for (const item of map.values()) spoil(item)
  map.clear()
}

function spoilList(list: unknown[]): void {
  list.forEach(spoil)
  list.reverse().push('changed')
}

function spoilFields(fields: Record<string, unknown>): void {
  for (const key of Object.keys(fields)) {
    spoil(fields[key])
    if (Object.getOwnPropertyDescriptor(fields, key)?.writable) fields[key] = 'changed'
  }
  fields.added = 'changed'
}

const MODES: Partial<AnalyticsSettings>[] = [{}, { overflow: 'block' }, { strict: true }]

for (const settings of MODES) {
  test(`what is sent is what was given at the call, with ${JSON.stringify(settings)}`, async () => {
    const { analytics, time, messages } = offline(settings)
    const values = new Generator(20_260_102)
    const expected: unknown[] = []
    for (let call = 0; call < 600; call++) {
      const [context, integrations, own] = [values.object(1), values.object(1), values.object(3)]
      const fields = call % 2 ? { traits: own } : { properties: own }
      expected.push(snapshot({ context, integrations, ...fields }))
      const params = { userId: 'u1', event: 'A', context, integrations, ...fields }
      if (call % 2) analytics.identify(params)
      else analytics.track(params)
      spoil(params)
    }
    await time.until(analytics.flush())
    const sent = messages().map(({ context: { library, ...context }, integrations = {}, ...message }) => {
      assert.ok(library)
      const own = message.traits ? { traits: message.traits } : { properties: message.properties }
      return { context, integrations, ...own }
    })
    assert.deepEqual(sent, expected)
  })
}

test('the context of a scope is taken at the call as well', async () => {
  const { analytics, time, messages } = offline()
  const app = { name: 'Shop' }
  analytics.with({ userId: 'u1', context: { app } }).track({ event: 'A' })
  app.name = 'changed'
  await time.until(analytics.flush())
  assert.deepEqual(messages()[0]?.context.app, { name: 'Shop' })
})

test('a message that a middleware keeps and changes later is sent as it was', async () => {
  const { analytics, time, messages } = offline()
  const keeps: { event?: string | undefined }[] = []
  analytics.use((message) => {
    keeps.push(message)
    return message
  })
  analytics.track({ userId: 'u1', event: 'A' })
  keeps[0]!.event = 'changed'
  await time.until(analytics.flush())
  assert.equal(messages()[0]?.event, 'A')
})

test('calls of every kind, encoded at once or later, go in the order of the calls', async () => {
  const { analytics, time, messages } = offline()
  const kinds = [{ flat: 1 }, { big: 1n }, { deep: { list: [1] } }, { call() {} }]
  for (let n = 0; n < 700; n++)
    analytics.track({ userId: 'u1', event: `${n}`, properties: kinds[(n * n) % 4]! })
  await time.until(analytics.flush())
  assert.deepEqual(
    messages().map(({ event }) => event),
    Array.from({ length: 700 }, (_, n) => `${n}`),
  )
})

test('a loop that never awaits leaves in a small queue the events it called last', async () => {
  const { analytics, time, messages } = offline({ maxQueueEvents: 3 })
  analytics.on('error', () => {})
  for (let n = 0; n < 1000; n++) analytics.track({ userId: 'u1', event: `${n}` })
  const report = await time.until(analytics.flush())
  assert.deepEqual([report.delivered, report.droppedCount], [3, 997])
  assert.deepEqual(
    messages().map(({ event }) => event),
    ['997', '998', '999'],
  )
})

test('what is found wrong at the call or later is reported in the order of the calls', async () => {
  const { analytics, time } = offline()
  const heard: unknown[] = []
  analytics.on('error', ({ messageId, code }) => heard.push([messageId, code]))
  // Fewer characters than the limit, more bytes: seen when the JSON is there.
  analytics.track({ userId: 'u1', event: 'A', properties: { text: 'é'.repeat(20_000) } })
  analytics.track({ event: 'B' })
  const expected = [
    ['m1', 'event_too_large'],
    ['m2', 'no_user_anon_id'],
  ]
  assert.deepEqual(heard, expected)
  const { rejected } = await time.until(analytics.flush())
  assert.deepEqual(
    rejected.map(({ messageId, code }) => [messageId, code]),
    expected,
  )
})

test('a call made by a listener while others are encoded goes after those', async () => {
  const { analytics, time, messages } = offline()
  analytics.once('error', () => analytics.track({ userId: 'u1', event: 'C', properties: { big: 1n } }))
  analytics.track({ userId: 'u1', event: 'A', properties: { text: 'é'.repeat(20_000) } })
  analytics.track({ userId: 'u1', event: 'B' })
  await time.until(analytics.flush())
  assert.deepEqual(
    messages().map(({ event }) => event),
    ['B', 'C'],
  )
})

test('a close in the same run still takes what was called before it', async () => {
  const { analytics, time, messages } = offline({ maxQueueEvents: 1, overflow: 'drop_newest' })
  analytics.on('error', () => {})
  for (const event of ['A', 'B']) analytics.track({ userId: 'u1', event })
  const closing = analytics.closeAndFlush()
  analytics.track({ userId: 'u1', event: 'C' })
  const report = await time.until(closing)
  assert.deepEqual(
    report.dropped.map(({ messageId, reason }) => [messageId, reason]),
    [
      ['m2', 'queue_full'],
      ['m3', 'closed'],
    ],
  )
  assert.deepEqual(
    messages().map(({ event }) => event),
    ['A'],
  )
})

test('rejections of one run are reported in the order of the calls', async () => {
  const { analytics } = offline()
  const heard: string[] = []
  analytics.on('error', (error: { messageId?: string }) => heard.push(String(error.messageId)))
  for (let n = 0; n < 4; n++)
    analytics.track({ userId: 'u', event: 'e', properties: { text: '€'.repeat(20_000) } })
  await undefined
  assert.deepEqual(heard, ['m1', 'm2', 'm3', 'm4'])
})

test('objects that hold one another many times cost no more than an event may', () => {
  const { analytics } = offline()
  let shared: object = {}
  for (let level = 0; level < 60; level++) shared = { a: shared, b: shared }
  const heard: unknown[] = []
  analytics.on('error', (error) => heard.push(error))
  analytics.track({ userId: 'u', event: 'e', properties: { shared } })
  assert.equal(heard.length, 1)
})
