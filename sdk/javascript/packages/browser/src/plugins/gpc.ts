// Global Privacy Control: a visitor's browser says "do not sell or share"; the events say so too, and are kept from advertisers.
import type { Plugin } from '../plugin.js'
import type { Preferences } from './consent.js'

export interface GpcOptions {
  /** Consent categories that the signal denies, whatever a banner says. Default: `advertising`. */
  deny?: string[]
  /** Send nothing at all for such visitors. Default: false. */
  drop?: boolean
}

/** Put it last. Adds `context.globalPrivacyControl`, denies categories whatever `consent` says, takes what `attribution` knows off. */
export function gpc(options: GpcOptions = {}): Plugin {
  return {
    name: 'gpc',
    enrich(message) {
      if (!isOn()) return message
      if (options.drop) return null
      const { context } = message
      const before = context.consent as { categoryPreferences?: Preferences } | undefined
      const denied = Object.fromEntries(
        (options.deny ?? ['advertising']).map((category) => [category, false]),
      )
      context.globalPrivacyControl = true
      context.consent = { ...before, categoryPreferences: { ...before?.categoryPreferences, ...denied } }
      delete context.clickIds
      delete context.attribution
      return message
    },
  }
}

function isOn(): boolean {
  return (navigator as Navigator & { globalPrivacyControl?: boolean }).globalPrivacyControl === true
}
