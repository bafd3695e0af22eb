// The options of `new Analytics(...)`, checked once, with their defaults.
import type { HttpClient } from './transport.js'

/** What happens to an event for which the queue has no room. */
export type Overflow = 'drop_oldest' | 'drop_newest' | 'block'

export interface AnalyticsSettings {
  readonly writeKey: string
  /** Where the collector is, such as `https://collect.example.com`. */
  readonly host: string
  /** Default `/v1/batch`. */
  readonly path?: string
  /** How often a batch is sent again after an answer that says the server failed at it. Default 10. */
  readonly maxRetries?: number
  /** Events in a request; as many waiting start one. Default 100. */
  readonly flushAt?: number
  /** Segment's older name of `flushAt`. */
  readonly maxEventsInBatch?: number
  /** Milliseconds an event waits for company. Default 1000. */
  readonly flushInterval?: number
  /** Milliseconds for a request and its answer. Default 10000. */
  readonly httpRequestTimeout?: number
  /** Calls do nothing. Default false. */
  readonly disable?: boolean
  /** A `fetch` of your own (a proxy, say), or Segment's `{ makeRequest }`. */
  readonly httpClient?: HttpClient
  /** Events that may wait. Default 10000. */
  readonly maxQueueEvents?: number
  /** Bytes that may wait. Default 32 MiB. */
  readonly maxQueueBytes?: number
  /** Default `drop_oldest`. With `block`, `await analytics.track(...)` waits for room. */
  readonly overflow?: Overflow
  /** A call that cannot be sent throws. For development. Default false. */
  readonly strict?: boolean
  /** Milliseconds that the end of the script may be delayed by. Default 5000; 0 sends nothing then. */
  readonly exitTimeout?: number
}

export type Settings = Required<Omit<AnalyticsSettings, 'httpClient' | 'maxEventsInBatch'>> & {
  readonly httpClient?: HttpClient | undefined
  readonly url: string
}

const POLICIES: readonly string[] = ['drop_oldest', 'drop_newest', 'block']

export function checked(given: AnalyticsSettings): Settings {
  if (typeof given?.writeKey !== 'string' || given.writeKey === '') {
    throw new TypeError(
      'writeKey is missing: pass the write key of a source, new Analytics({ writeKey, host })',
    )
  }
  const overflow = given.overflow ?? 'drop_oldest'
  if (!POLICIES.includes(overflow)) {
    throw new TypeError(`overflow is ${JSON.stringify(overflow)}: use one of ${POLICIES.join(', ')}`)
  }
  const path = given.path ?? '/v1/batch'
  return {
    writeKey: given.writeKey,
    host: given.host,
    path,
    url: address(given.host, path),
    maxRetries: number('maxRetries', given.maxRetries, 10, 0),
    flushAt: number('flushAt', given.flushAt ?? given.maxEventsInBatch, 100, 1),
    flushInterval: number('flushInterval', given.flushInterval, 1000, 0),
    httpRequestTimeout: number('httpRequestTimeout', given.httpRequestTimeout, 10_000, 1),
    maxQueueEvents: number('maxQueueEvents', given.maxQueueEvents, 10_000, 1),
    maxQueueBytes: number('maxQueueBytes', given.maxQueueBytes, 32 * 1024 * 1024, 1),
    exitTimeout: number('exitTimeout', given.exitTimeout, 5000, 0),
    disable: given.disable ?? false,
    strict: given.strict ?? false,
    overflow,
    httpClient: given.httpClient,
  }
}

function address(host: unknown, path: string): string {
  try {
    const url = new URL(String(host))
    if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new TypeError('not HTTP')
    return url.href.replace(/\/+$/, '') + (path.startsWith('/') ? path : `/${path}`)
  } catch {
    throw new TypeError(
      `host is ${JSON.stringify(host)}: give the collector's address, such as https://collect.example.com`,
    )
  }
}

function number(name: string, value: unknown, usual: number, least: number): number {
  if (value === undefined) return usual
  if (typeof value === 'number' && value >= least) return value
  throw new TypeError(`${name} is ${String(value)}: give a number of at least ${least} (default ${usual})`)
}
