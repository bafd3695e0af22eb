// No cookie, no localStorage, nothing on the visitor's device: ids live as long as the page.
import type { Plugin } from '../plugin.js'
import type { Analytics } from '../types.js'

export interface CookielessOptions {
  /**
   * `page`: one id for each page load. `day`: the same, and a new one after midnight UTC in a page that stays open (an app, a screen on
   * a wall). Either way nobody is known again after a reload: visitors are counted too often, which is the price. Default: `page`.
   */
  rotate?: 'page' | 'day'
}

/**
 * Give it to `load`, so that it comes before anything is written. Unsent events of the page leave by keepalive when it goes, and are
 * lost if nobody answers: there is no storage to keep them in. What an earlier configuration stored is neither read nor removed.
 */
export function cookieless(options: CookielessOptions = {}): Plugin {
  let sdk: Analytics
  let today = day(Date.now())
  return {
    name: 'cookieless',
    setup(given) {
      sdk = given
      const memory = new Map<string, unknown>()
      sdk.storage = {
        persistent: false,
        get: (key) => memory.get(key) ?? null,
        set: (key, value) => void memory.set(key, value),
      }
    },
    enrich(message) {
      const now = day(Date.now())
      if (options.rotate === 'day' && now !== today) {
        today = now
        message.anonymousId = sdk.setAnonymousId(null)
      }
      return message
    },
  }
}

function day(time: number): number {
  return Math.floor(time / 86_400_000)
}
