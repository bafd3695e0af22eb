// How an SDK is loaded: our own shape and the two of analytics-next.
import { createAnalytics } from './analytics.js'
import { page } from './platform.js'
import type { Analytics, Json, Options } from './types.js'

/** analytics-next's first argument. `cdnURL` stands for the host where none is given. */
export interface SegmentSettings {
  writeKey: string
  host?: string
  cdnURL?: string
}

/** `{'Segment.io': {apiHost: 'collect.example.com/v1', protocol: 'https'}}`, the way to name a host in analytics-next. */
function apiHost(options: Options): string | undefined {
  const { apiHost: host, protocol = 'https' } = (options.integrations?.['Segment.io'] ?? {}) as Record<
    string,
    string
  >
  return host && `${protocol}://${host.replace(/\/v1\/?$/, '')}`
}

/**
 * Loads the SDK: `load('KEY', { host: 'https://collect.example.com' })`, or `load({ writeKey, cdnURL }, options)` as
 * analytics-next's. Throws only when there is no write key or host, which is a mistake of the code, seen at its first run.
 */
export function load(settings: string | SegmentSettings, options: Options = {}): Analytics {
  const given: Json & SegmentSettings =
    typeof settings === 'string' ? { writeKey: settings } : { ...settings }
  const host = options.host ?? given.host ?? apiHost(options) ?? given.cdnURL
  if (!given.writeKey || !host) {
    throw new Error(
      `headwater: load(writeKey, {host}) needs both; writeKey is ${given.writeKey}, host is ${host}. Example: load('wk_web', {host: 'https://collect.example.com'})`,
    )
  }
  return createAnalytics(page(), given.writeKey, { ...options, host: host.replace(/\/$/, '') })
}

/** analytics-next's name for it. */
export const AnalyticsBrowser = { load }
