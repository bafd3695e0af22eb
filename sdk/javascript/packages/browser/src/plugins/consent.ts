// What the visitor allows, on every event (`context.consent.categoryPreferences`), and nothing before they were asked.
import type { Plugin } from '../plugin.js'
import type { Analytics, Message } from '../types.js'

/** Category to allowed or not. */
export type Preferences = Record<string, boolean>

/** Where preferences come from: a banner of your own, a consent platform, or `preferences()` below. */
export interface ConsentSource {
  /** What is known now; null while the visitor has not been asked. */
  get(): Preferences | null
  /** Calls back when that changes. */
  subscribe(changed: () => void): void
}

export interface ConsentOptions {
  source: ConsentSource
  /** What happens to events while nothing is known: wait in memory, be dropped, or go without a stamp. Default: `hold`. */
  unknown?: 'hold' | 'drop' | 'send'
  /** Events are dropped unless all of these are allowed. Default: none; the destinations decide by the stamp. */
  required?: string[]
  /** Track `Consent Preferences Updated` when the visitor changes their mind. Default: true. */
  updates?: boolean
}

/**
 * Stamps, holds or drops. While events are held nothing is written anywhere: they and the visitor's ids live in this page's memory,
 * and go with it where the visitor leaves without an answer or does not allow what is required.
 */
export function consent(options: ConsentOptions): Plugin {
  const { source, unknown = 'hold', required = [] } = options
  const allows = (known: Preferences) => required.every((category) => known[category])
  const stamp = (message: Message, known: Preferences): Message | null => {
    const before = (message.context.consent ?? {}) as { categoryPreferences?: Preferences }
    const categoryPreferences = { ...known, ...before.categoryPreferences }
    message.context.consent = { ...before, categoryPreferences }
    return allows(known) ? message : null
  }
  let later: Promise<Preferences> | undefined // one for all events that wait
  return {
    name: 'consent',
    setup(sdk) {
      if (options.updates !== false) announce(sdk, source)
      if (unknown !== 'hold' || source.get()) return
      later = decided(source)
      const write = holdStorage(sdk)
      later.then((known) => allows(known) && write())
    },
    enrich(message) {
      const known = source.get()
      if (known) return stamp(message, known)
      if (unknown === 'send') return message
      if (unknown === 'drop') return null
      later ??= decided(source)
      return later.then((first) => stamp(message, source.get() ?? first))
    },
  }
}

/** Reads go on, so that a visitor who came before keeps their id; writes stay in memory until the returned function is called. */
function holdStorage(sdk: Analytics): () => void {
  const real = sdk.storage
  const held = new Map<string, unknown>()
  sdk.storage = {
    persistent: false,
    get: (key) => (held.has(key) ? held.get(key) : real.get(key)),
    set: (key, value) => void held.set(key, value),
  }
  return () => {
    sdk.storage = real
    for (const [key, value] of held) real.set(key, value)
  }
}

function decided(source: ConsentSource): Promise<Preferences> {
  return new Promise((resolve) => {
    source.subscribe(() => {
      const known = source.get()
      if (known) resolve(known)
    })
  })
}

function announce(sdk: Analytics, source: ConsentSource): void {
  let told = JSON.stringify(source.get())
  source.subscribe(() => {
    const now = JSON.stringify(source.get())
    if (now === told) return
    const first = told === 'null'
    told = now
    if (!first) sdk.track('Consent Preferences Updated')
  })
}

/** A source of your own: `const choice = preferences()`, and `choice.set({analytics: true})` from the banner. */
export function preferences(initial: Preferences | null = null): ConsentSource & {
  set(value: Preferences | null): void
  subscribe(changed: () => void): () => void
} {
  let value = initial
  const listeners = new Set<() => void>()
  return {
    get: () => value,
    set(next) {
      value = next && { ...next }
      for (const changed of [...listeners]) changed()
    },
    subscribe(changed) {
      listeners.add(changed)
      return () => listeners.delete(changed)
    },
  }
}

type OneTrustWindow = { OnetrustActiveGroups?: string; OneTrust?: { IsAlertBoxClosed?(): boolean } }

/**
 * OneTrust, or what speaks like it. `categories` maps its groups to your names: `{C0002: 'analytics', C0004: 'advertising'}`.
 * With `wait` (the default) nothing is known until the visitor has closed the banner.
 */
export function oneTrust(categories: Record<string, string>, wait = true): ConsentSource {
  return {
    get() {
      const { OnetrustActiveGroups: active, OneTrust: banner } = window as unknown as OneTrustWindow
      if (typeof active !== 'string' || (wait && banner?.IsAlertBoxClosed?.() !== true)) return null
      const groups = active.split(',')
      return Object.fromEntries(
        Object.entries(categories).map(([group, name]) => [name, groups.includes(group)]),
      )
    },
    subscribe(changed) {
      // The first also comes when its script has loaded, the second when the banner is closed.
      addEventListener('OneTrustGroupsUpdated', changed)
      addEventListener('OTConsentApplied', changed)
    },
  }
}
