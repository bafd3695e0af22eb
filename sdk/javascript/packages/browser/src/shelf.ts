// The queue's copy in localStorage: one key for each event, and who of several tabs answers for it.
//
// `hw:WRITEKEY:TAB EVENT` holds an event of the tab with that id. A tab answers for its own events and for those of tabs that it has claimed.
// It holds a Web Lock for each, which the browser releases when the tab ends, however it ends. Where there are no Web Locks
// (plain http) it holds a lease instead, the key `hw:WRITEKEY:TAB`, which it renews; a tab that is silent for STALE has ended.
import type { Platform } from './platform.js'
import { local } from './storage.js'

/** Length of a tab's id. */
const ID = 36
/** Milliseconds between two renewals and two looks for closed tabs; hidden tabs get a turn once a minute only. */
export const TICK = 20_000
const STALE = 4 * TICK
/** A pause that another page noted is not believed beyond this. */
const LONGEST = 300_000

export interface Shelf {
  /** The key of a new event. */
  key(id: string): string
  /** This tab's own claim holds: what it writes is its own. */
  readonly settled: () => boolean
  /** Until when (milliseconds since 1970) the server asked all tabs to wait; remembers `until`. */
  pause(until?: number): number
  put(key: string, text: string): boolean
  remove(key: string): void
  /** Takes over what closed tabs left: `found` hears each event's key and text. */
  sweep(found: (key: string, text: string) => void): Promise<void>
  /** Starts, or starts anew after `release`. */
  open(): Promise<unknown>
  /** Lets other tabs take over: this page goes away, perhaps to come back. */
  release(): void
}

export function shelf(platform: Platform, writeKey: string): Shelf {
  const { window: win, now } = platform
  const prefix = `hw:${writeKey}:`
  const owned = new Set<string>()
  const releases: Array<(value?: unknown) => void> = []
  let own = ''
  const read = (key: string) => local(win, (storage) => storage.getItem(key))
  const put = (key: string, text: string) =>
    !!local(win, (storage) => {
      storage.setItem(key, text)
      return true
    })
  const remove = (key: string) => local(win, (storage) => storage.removeItem(key))
  const renew = (tab: string) => put(prefix + tab, `${now()} ${own}`)

  /** Without Web Locks two tabs may both write; the later one wins, and both look again. */
  async function lease(tab: string): Promise<boolean> {
    if (tab !== own && now() - parseInt(read(prefix + tab) ?? '0', 10) < STALE) return false
    renew(tab)
    const mine = read(prefix + tab)
    if (tab !== own) await new Promise((resolve) => win.setTimeout(resolve, 200))
    return read(prefix + tab) === mine
  }

  function lock(tab: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      win.navigator.locks
        .request(prefix + tab, { ifAvailable: true }, (held) => {
          resolve(!!held)
          return held && new Promise((release) => releases.push(release))
        })
        .catch(reject)
    })
  }

  /** True when this page now answers for `tab`. */
  async function claim(tab: string): Promise<boolean> {
    const got = await (win.navigator.locks ? lock(tab).catch(() => lease(tab)) : lease(tab))
    if (got) owned.add(tab)
    return got
  }

  return {
    key: (id) => `${prefix}${own}${id}`,
    settled: () => owned.has(own),
    put,
    remove,
    pause(until) {
      if (until) put(prefix, `${until}`)
      return until ?? Math.min(+(read(prefix) ?? 0), now() + LONGEST)
    },
    async sweep(found) {
      if (!win.navigator.locks) owned.forEach(renew)
      const keys = local(win, Object.keys) ?? []
      const ours = keys.filter((key) => key.startsWith(prefix) && key.length > prefix.length + ID).sort()
      for (const tab of new Set(ours.map((key) => key.substr(prefix.length, ID)))) {
        if (owned.has(tab) || !(await claim(tab))) continue
        for (const key of ours) {
          const text = key.startsWith(prefix + tab) && read(key)
          if (text) found(key, text)
        }
      }
    },
    open() {
      own = platform.uuid()
      return claim(own)
    },
    release() {
      if (!win.navigator.locks) for (const tab of owned) remove(prefix + tab)
      owned.clear()
      for (const release of releases.splice(0)) release()
    },
  }
}
