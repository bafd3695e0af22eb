// Visits: a number for each, its place among the visitor's, and a mark on the first event; as `context.sessionId` and so on.
//
// The tables of the pipeline find visits by the same rule from the events alone (view `sessions`: no pause over 30 minutes); this
// plug-in is for those who need the visit on the event itself, in a destination or in the page.
import type { Plugin } from '../plugin.js'
import type { Analytics, Message } from '../types.js'
import { CLICK_IDS } from './attribution.js'

export interface SessionOptions {
  /** Minutes without an event after which a new visit begins. Default: 30. */
  minutes?: number
}

interface Session {
  /** When it began, in ms since 1970: with the anonymousId it names the visit. */
  id: number
  number: number
  last: number
  campaign: string
}

const KEY = 'headwater_session'

/** Adds `sessionId`, `sessionNumber` and, on a visit's first event, `sessionStart: true` to the context. */
export function sessions(options: SessionOptions = {}): Plugin {
  const pause = (options.minutes ?? 30) * 60_000
  let sdk: Analytics
  return {
    name: 'sessions',
    setup(given) {
      sdk = given
    },
    enrich(message) {
      const now = Date.parse(message.timestamp) || Date.now()
      const before = read(sdk)
      const session = next(before, now, campaignOf(message), pause)
      sdk.storage.set(KEY, session)
      Object.assign(message.context, { sessionId: session.id, sessionNumber: session.number })
      if (session.id !== before?.id) message.context.sessionStart = true
      return message
    },
  }
}

/** The visit that an event at `now` belongs to. A clock that was set back ends none. */
export function next(before: Session | null, now: number, campaign: string, pause: number): Session {
  const goes = before && now - before.last < pause && (!campaign || campaign === before.campaign)
  if (goes) return { ...before, last: Math.max(now, before.last) }
  return { id: now, number: (before?.number ?? 0) + 1, last: now, campaign }
}

/** What brought the visitor to this address, as one text; empty where nothing says so. */
export function campaignOf(message: Pick<Message, 'context'>): string {
  const page = message.context.page as { search?: string } | undefined
  const found = [...new URLSearchParams(page?.search ?? '')].filter(
    ([name]) => /^utm_./.test(name) || CLICK_IDS.test(name),
  )
  return found
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join('&')
}

function read(sdk: Analytics): Session | null {
  const found = sdk.storage.get(KEY) as Session | null
  const numbers = found && [found.id, found.number, found.last]
  return numbers?.every(Number.isFinite) ? found : null // else somebody else's value under our name
}
