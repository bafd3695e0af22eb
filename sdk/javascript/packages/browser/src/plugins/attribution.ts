// What brought the visitor here, first and last, on every event: `context.clickIds` and `context.attribution`.
//
// Campaign parameters are in the address of one page only; the purchase happens on another one, weeks later.
import type { Plugin } from '../plugin.js'
import type { Analytics, Json, Message } from '../types.js'

export interface AttributionOptions {
  /** Days that a touch is remembered. Default: 90, what the ad platforms take. */
  days?: number
}

/** One arrival that somebody brought about. */
export interface Touch {
  /** When, in ms since 1970. */
  at: number
  url: string
  referrer?: string
  campaign?: Json
  clickIds?: Record<string, string>
}

interface Known {
  first: Touch
  last: Touch
  /** The latest id of each platform, with its time. */
  ids: Record<string, [value: string, at: number]>
}

const KEY = 'headwater_attribution'
const RELOAD = 30 * 60_000 // the same arrival again within this time is a reload or a second tab
const LONGEST = 500 // characters of a value: the ad platforms' ids stay below 200

/** Query parameters that hold the id of a click on an advertisement. */
export const CLICK_IDS =
  /^(gclid|gbraid|wbraid|dclid|fbclid|msclkid|ttclid|twclid|li_fat_id|epik|sccid|ScCid|rdt_cid|yclid|irclickid|btid|urid)$/

/** Remembers arrivals with `utm_*` parameters or ids of ad clicks, and those from other sites. */
export function attribution(options: AttributionOptions = {}): Plugin {
  const kept = (options.days ?? 90) * 86_400_000
  let sdk: Analytics
  let seen = '' // what this page has told already
  return {
    name: 'attribution',
    setup(given) {
      sdk = given
    },
    enrich(message) {
      const now = Date.parse(message.timestamp)
      const before = fresh(sdk.storage.get(KEY) as Known | null, now, kept)
      const touch = touchOf(message, now, location.host)
      const isNew = text(touch) !== seen
      seen = text(touch)
      const known = isNew ? arrive(before, touch) : before
      if (!known) return message
      if (known !== before) sdk.storage.set(KEY, known)
      const ids = Object.entries(known.ids).map(([name, [value]]) => [name, value])
      if (ids.length) message.context.clickIds = Object.fromEntries(ids)
      message.context.attribution = { first: known.first, last: known.last }
      return message
    },
  }
}

/** What is remembered after an arrival. */
export function arrive(known: Known | null, touch: Touch | null): Known | null {
  if (!touch) return known
  if (known && touch.at - known.last.at < RELOAD && text(known.last) === text(touch)) return known
  const ids = Object.entries(touch.clickIds ?? {}).map(([name, value]) => [name, [value, touch.at]])
  return { first: known?.first ?? touch, last: touch, ids: { ...known?.ids, ...Object.fromEntries(ids) } }
}

/** Equal for arrivals that differ in their time only. */
function text(touch: Touch | null): string {
  return touch ? JSON.stringify({ ...touch, at: 0 }) : ''
}

/** Without what is too old; null where nothing is left, or somebody else's value stands under our name. */
export function fresh(known: Known | null, now: number, kept: number): Known | null {
  const isFresh = (at: number) => now - at < kept
  if (!known?.last?.at || !known.first?.at || !known.ids || !isFresh(known.last.at)) return null
  const ids = Object.fromEntries(Object.entries(known.ids).filter(([, [, at]]) => isFresh(at)))
  return { ...known, first: isFresh(known.first.at) ? known.first : known.last, ids }
}

/** The arrival that a page's address and referrer tell of; null for a visit that nobody brought about. */
export function touchOf(message: Pick<Message, 'context'>, at: number, host: string): Touch | null {
  const page = (message.context.page ?? {}) as { url?: string; search?: string; referrer?: string }
  const clickIds: Record<string, string> = {}
  new URLSearchParams(page.search ?? '').forEach((value, name) => {
    if (value && CLICK_IDS.test(name)) clickIds[name] = value.slice(0, LONGEST)
  })
  const campaign = message.context.campaign as Json | undefined
  const referrer = foreign(page.referrer, host)
  const tells = {
    campaign: !!campaign && Object.keys(campaign).length > 0,
    ids: Object.keys(clickIds).length > 0,
  }
  if (!tells.campaign && !tells.ids && !referrer) return null
  return {
    at,
    url: (page.url ?? '').split('?')[0]!.slice(0, LONGEST),
    ...(referrer && { referrer }),
    ...(tells.campaign && { campaign }),
    ...(tells.ids && { clickIds }),
  }
}

/** The referrer's origin where it is another site. */
function foreign(referrer: string | undefined, host: string): string | undefined {
  try {
    const url = new URL(referrer ?? '')
    return url.host === host ? undefined : url.origin
  } catch {
    return undefined // no referrer, or none that is an address
  }
}
