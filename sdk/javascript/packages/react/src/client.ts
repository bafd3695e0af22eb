// Which client a provider gives to its hooks: the one it was given, one for each write key in a browser, or one that does nothing.
import { type Analytics, load, type Options, type Settled } from '@headwater/browser'

const SHARED = Symbol.for('headwater.react.clients')
const REASON = { code: 'server_rendering', reason: 'server_rendering', message: '' }
const NOTHING: Settled = { status: 'dropped', messageId: '', type: '', ...REASON, event: null }

/** What makes a client; tests give their own. */
export type Load = (writeKey: string, options?: Options) => Analytics

/**
 * One client for each write key of the page, however often a provider renders, is remounted or replaced by a development server: a
 * second one would send everything twice.
 */
export function shared(writeKey: string, options?: Options, make: Load = load): Analytics {
  if (typeof window === 'undefined') return inert
  const page = globalThis as { [SHARED]?: Map<string, Analytics> }
  page[SHARED] ??= new Map()
  const found = page[SHARED].get(writeKey) ?? made(() => make(writeKey, options))
  page[SHARED].set(writeKey, found)
  return found
}

/** This runs while the app renders: a setting that is missing in one environment must not take the app down there. */
function made(make: () => Analytics): Analytics {
  try {
    return make()
  } catch (error) {
    // biome-ignore lint/suspicious/noConsole: the one place where the developer learns of it
    console.error(`Headwater sends nothing: ${error}`)
    return inert
  }
}

const identity = { id: () => null, anonymousId: () => '', traits: () => ({}), properties: () => ({}) }
const nothing = async () => NOTHING

/** The client of a server's rendering: every call is taken and none is sent, for the browser will make it again. */
export const inert: Analytics = {
  writeKey: '',
  version: '',
  storage: { get: () => null, set: () => undefined, persistent: false },
  track: nothing,
  identify: nothing,
  page: nothing,
  screen: nothing,
  alias: nothing,
  group: ((...args: unknown[]) => (args.length ? nothing() : identity)) as Analytics['group'],
  reset: () => undefined,
  ready: async () => undefined,
  on: () => inert,
  once: () => inert,
  off: () => inert,
  emit: () => inert,
  debug: () => inert,
  user: () => identity,
  setAnonymousId: () => '',
  addSourceMiddleware: () => inert,
  use: () => inert,
  register: async () => undefined,
  flush: async () => ({
    delivered: 0,
    rejected: [],
    rejectedCount: 0,
    dropped: [],
    droppedCount: 0,
    queued: 0,
  }),
  hold: () => undefined,
}
