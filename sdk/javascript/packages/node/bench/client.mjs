// One measurement of one client in a process of its own: `node --expose-gc client.mjs SDK WHAT [HOST]`, prints JSON.
import { setImmediate, setTimeout } from 'node:timers/promises'
import { SDKS } from './sdks.mjs'

const [, , name, what, host = 'http://127.0.0.1:9'] = process.argv
const sdk = SDKS[name]

/** An event as applications send them: about 450 bytes. */
const event = (i) => ({
  userId: `user-${i % 1000}`,
  event: 'Order Completed',
  properties: {
    orderId: `order-${i}`,
    total: 59.9,
    currency: 'EUR',
    coupon: null,
    products: [
      { sku: 'a-1', name: 'Notebook', price: 19.95, quantity: 2 },
      { sku: 'b-2', name: 'Pen', price: 20, quantity: 1 },
    ],
  },
  context: { ip: '192.0.2.1', groupId: 'acme' },
})

/** Takes requests and never answers, so that all events stay queued; a promise that nobody could keep would be collected. */
const unanswered = []
const silent = { makeRequest: () => new Promise((resolve) => unanswered.push(resolve)) }

const MEASURES = {
  /** Milliseconds until the module is there. */
  async import() {
    const started = performance.now()
    await import(sdk.path)
    return { ms: performance.now() - started }
  },

  /**
   * Microseconds that a call keeps its caller (`call_us`), and with the work that it leaves for the end of the same turn,
   * before which nothing else can run (`turn_us`). Bursts of 100.
   */
  async call() {
    const client = await sdk.create({ host, httpClient: silent, maxQueueEvents: 1e6, maxQueueBytes: 1e9 })
    const calls = []
    const turns = []
    for (let burst = 0; burst < 400; burst++) {
      const events = Array.from({ length: 100 }, (_, i) => event(burst * 100 + i))
      const turned = setImmediate()
      const started = performance.now()
      for (const one of events) client.track(one)
      calls.push((performance.now() - started) * 10)
      await turned
      turns.push((performance.now() - started) * 10)
    }
    // The first ones are compiled while they run.
    const median = (values) => values.slice(100).sort((a, b) => a - b)[150]
    return { call_us: median(calls), turn_us: median(turns) }
  },

  /** Events per second from the first call until the last answer, and the processor's time for one. */
  async throughput() {
    const count = 50_000
    const client = await sdk.create({ host, maxQueueEvents: 1e6, maxQueueBytes: 1e9 })
    const cpu = process.cpuUsage()
    const started = performance.now()
    for (let i = 0; i < count; i++) {
      client.track(event(i))
      if (i % 500 === 499) await setImmediate()
    }
    await client.closeAndFlush({ timeout: 300_000 })
    const seconds = (performance.now() - started) / 1000
    const { user, system } = process.cpuUsage(cpu)
    return { per_s: count / seconds, cpu_us: (user + system) / count }
  },

  /** Megabytes with 100,000 events queued, above those of the empty client. */
  async memory() {
    const client = await sdk.create({ host, httpClient: silent, maxQueueEvents: 1e6, maxQueueBytes: 1e9 })
    await setImmediate()
    globalThis.gc()
    const before = process.memoryUsage.rss()
    for (let i = 0; i < 100_000; i++) {
      client.track(event(i))
      if (i % 500 === 499) await setImmediate()
    }
    await setTimeout(200)
    const rss = process.memoryUsage.rss()
    globalThis.gc()
    const mb = (bytes) => bytes / 2 ** 20
    const { heapUsed, external } = process.memoryUsage()
    return { rss_mb: mb(rss), added_mb: mb(rss - before), heap_mb: mb(heapUsed + external) }
  },

  /** Seconds from the end of an outage until the last of 10,000 events is delivered; the collector measures. */
  async drain() {
    const client = await sdk.create({ host, maxQueueEvents: 20_000 })
    for (let i = 0; i < 10_000; i++) {
      client.track(event(i))
      if (i % 500 === 499) await setImmediate()
    }
    await client.closeAndFlush({ timeout: 300_000 })
    return {}
  },
}

process.stdout.write(JSON.stringify(await MEASURES[what]()), () => process.exit(0))
