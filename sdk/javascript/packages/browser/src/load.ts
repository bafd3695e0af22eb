// How an SDK is loaded: our own shape and that of analytics-next.
import { createAnalytics } from './analytics.js'
import { offline } from './offline.js'
import { page } from './platform.js'
import type { Analytics, Options } from './types.js'

/** analytics-next's first argument. `cdnURL` stands for the host where none is given. */
export interface SegmentSettings {
  writeKey: string
  host?: string
  cdnURL?: string
}

/**
 * Loads the SDK: `load('KEY', { host: 'https://collect.example.com' })`, or `load({ writeKey, cdnURL }, options)` as
 * analytics-next's. Throws only when there is no write key or host, which is a mistake of the code, seen at its first run.
 */
export function load(settings: string | SegmentSettings, options: Options = {}): Analytics {
  const given = typeof settings === 'string' ? { writeKey: settings } : settings
  const { writeKey, host, cdnURL } = { ...given, ...options } as SegmentSettings
  const where = host || cdnURL
  if (!writeKey || !where) {
    throw new Error(`headwater: load(${writeKey}, {host: ${where}}) needs both`)
  }
  return createAnalytics(page(), writeKey, { ...options, host: where }, offline)
}

/** analytics-next's name for it, which may also be awaited as a pair: `const [analytics] = await AnalyticsBrowser.load(...)`. */
export const AnalyticsBrowser = {
  load(...args: Parameters<typeof load>): Analytics & Iterable<Analytics> {
    const sdk = load(...args)
    return Object.assign(sdk, { [Symbol.iterator]: () => [sdk][Symbol.iterator]() })
  },
}
