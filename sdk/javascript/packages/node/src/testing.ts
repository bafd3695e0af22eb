// For an app's own tests: a client that sends nowhere and remembers what it was told.
import { Analytics } from './analytics.js'
import type { AnalyticsSettings } from './settings.js'
import type { Kind, Message } from './types.js'

export type Expected = { readonly [field in keyof Message]?: unknown }

export class Recorder extends Analytics {
  /** All messages since the start or the last `clear`, as they would have been sent. Filled at the call. */
  readonly messages: Message[]

  constructor(settings: Partial<AnalyticsSettings> = {}) {
    const messages: Message[] = []
    super(
      { writeKey: 'test', host: 'http://recorder.invalid', strict: true, exitTimeout: 0, ...settings },
      { keep: (json) => messages.push(JSON.parse(json)) },
    )
    this.messages = messages
  }

  /** The `track` calls of this event name, or all of them. */
  events(name?: string): Message[] {
    return this.messages.filter(
      ({ type, event }) => type === 'track' && (name === undefined || event === name),
    )
  }

  ofType(type: Kind): Message[] {
    return this.messages.filter((message) => message.type === type)
  }

  clear(): void {
    this.messages.length = 0
  }

  /** Throws unless the event was tracked with at least these fields and properties. */
  assertTracked(event: string, expected: Expected = {}): Message {
    const candidates = this.events(event)
    const found = candidates.find((message) => includes(message, expected))
    if (found) return found
    const seen = this.events().map(({ event }) => event)
    throw new Error(
      candidates.length === 0
        ? `${event} was not tracked; these were: ${seen.join(', ') || 'none'}`
        : `${event} was tracked, but not with ${JSON.stringify(expected)}; it was with:\n${candidates.map((one) => JSON.stringify(one)).join('\n')}`,
    )
  }

  assertNotTracked(event: string): void {
    const found = this.events(event)
    if (found.length > 0)
      throw new Error(`${event} was tracked ${found.length} times: ${JSON.stringify(found[0])}`)
  }
}

/** Whether `actual` has all that `expected` has; arrays must be equal. */
function includes(actual: unknown, expected: unknown): boolean {
  if (expected === undefined) return actual === undefined
  if (expected instanceof Date) return actual === expected.toISOString()
  if (typeof expected !== 'object' || expected === null) return Object.is(actual, expected)
  if (typeof actual !== 'object' || actual === null) return false
  if (Array.isArray(expected)) {
    return (
      Array.isArray(actual) &&
      actual.length === expected.length &&
      expected.every((item, i) => includes(actual[i], item))
    )
  }
  return Object.entries(expected).every(([key, item]) =>
    includes((actual as Record<string, unknown>)[key], item),
  )
}
