// The queue's copy in localStorage: it survives reloads and crashes, and a closed tab's events are taken over by another.
//
// One key for each event, `hw:WRITEKEY:` and the ids of tab and event. A tab answers for its own events and for those of tabs that it has
// claimed. It holds a Web Lock for each, which the browser releases when the tab ends, however it ends. Where there are no Web Locks
// (plain http) it holds a lease instead, the key `hw:WRITEKEY:TAB`, which it renews; a tab that is silent for STALE has ended.
import type { Delivery } from './delivery.js'
import type { Platform } from './platform.js'
import type { Entry, Queue } from './queue.js'
import { attempt } from './storage.js'

/** Length of a tab's id. */
const ID = 36
/** Milliseconds between two renewals and two looks for closed tabs; the browser gives hidden tabs a turn once a minute. */
const TICK = 20_000
const STALE = 4 * TICK
/** A pause that another page noted is not believed beyond this. */
const LONGEST = 300_000
/** Events written in one idle moment. */
const SLICE = 100
/** Characters that a tab's events take at most: of the 5 MB that a site has, most stay the site's own. */
const ROOM = 2_000_000

export type Offline = typeof offline

export function offline(
  { window: win, now, uuid }: Platform,
  writeKey: string,
  queue: Queue,
  delivery: Delivery,
  /** Storage may be written. */
  allowed: () => boolean,
): void {
  const { document } = win
  const { locks } = win.navigator
  const prefix = `hw:${writeKey}:`
  const owned = new Set<string>()
  /** Events that are in memory only. */
  const fresh = new Set<Entry>()
  let releases: Array<(value?: unknown) => void> = []
  let room = ROOM
  let own = ''
  let planned = false

  // --- storage ---------------------------------------------------------------------------------------------------------

  const read = (key: string) => attempt(() => win.localStorage.getItem(key)) || ''
  const write = (key: string, text: string) =>
    attempt(() => win.localStorage.setItem(key, text)) === undefined
  const remove = (key: string) => attempt(() => win.localStorage.removeItem(key))
  const put = (entry: Entry, key: string) => write(key, entry.tries + entry.json)

  function keep(entry: Entry, key: string): void {
    entry.key = key
    room -= entry.bytes
  }

  function persist(most: number): void {
    for (const entry of fresh) {
      if (!allowed() || !most--) break
      const key = prefix + own + uuid()
      // Full or blocked: memory has it, the next event tries again.
      if (entry.bytes > room || !put(entry, key)) return
      keep(entry, key)
      fresh.delete(entry)
    }
    if (allowed() && fresh.size) plan()
  }

  /** Writes when the page has nothing better to do, and when what is written is known to be ours. */
  function plan(): void {
    if (planned) return
    planned = true
    const idle = win.requestIdleCallback || win.setTimeout
    idle(() => {
      planned = false
      if (owned.has(own)) persist(SLICE)
    })
  }

  // --- tabs ------------------------------------------------------------------------------------------------------------

  /** A page that may not write has no events there that need a lease. */
  const renew = (tab: string) => !allowed() || write(prefix + tab, `${now()}`)

  /** True when nobody renewed lately. Two tabs may agree at once; their events have the same ids, so the server keeps one. */
  const lease = (tab: string) => !(now() - +read(prefix + tab) < STALE) && renew(tab)

  const lock = (tab: string) =>
    new Promise<boolean>((resolve) => {
      const use = (held: Lock | null) => {
        resolve(!!held)
        return held && new Promise((release) => releases.push(release))
      }
      // A sandboxed frame may not ask; it has no storage to share either.
      locks.request(prefix + tab, { ifAvailable: true }, use).catch(() => resolve(false))
    })

  /** Answers for `tab` from now on, unless another page does. */
  async function claim(tab: string): Promise<boolean> {
    const got = locks ? await lock(tab) : lease(tab)
    if (got) owned.add(tab)
    return got
  }

  const tabOf = (key: string) => key.slice(prefix.length, prefix.length + ID)

  /** The keys of events in order, of one tab or of all. */
  const keys = (tab = '') =>
    (attempt(() => Object.keys(win.localStorage).sort()) || []).filter(
      (key) => key.startsWith(prefix + tab) && key.length > prefix.length + ID,
    )

  /** Takes over what ended tabs left, and sends it. */
  async function sweep(): Promise<void> {
    if (!locks) owned.forEach(renew)
    for (const tab of new Set(keys().map(tabOf))) {
      if (tab !== own && (owned.has(tab) || (await claim(tab)))) adopt(tab)
    }
  }

  /** Looks again, now that the tab is ours: its last event may have come, or may have become visible here, after its end. */
  function adopt(tab: string): void {
    const known = new Set([...queue.pending].map((entry) => entry.key))
    for (const key of keys(tab)) {
      if (known.has(key)) continue
      const text = read(key)
      const at = text.indexOf('{')
      const json = text.slice(at)
      // What is no event is somebody else's mistake, and would spoil a whole request.
      if (!attempt(() => JSON.parse(json).messageId)) remove(key)
      else queue.add(json, undefined, key, +text.slice(0, at) || 0)
      delivery.wake(0)
    }
  }

  /** For the first time, or back from the back/forward cache: what other pages took over meanwhile is theirs. */
  async function open(): Promise<void> {
    own = uuid()
    await claim(own)
    plan()
    await sweep()
    for (const entry of queue.pending) {
      const { key } = entry
      if (key && !(owned.has(tabOf(key)) && read(key))) queue.finish(entry, 'handed_over')
    }
  }

  queue.store = {
    add(entry) {
      if (entry.key) {
        room -= entry.bytes
        return
      }
      fresh.add(entry)
      plan()
    },
    remove(entry) {
      fresh.delete(entry)
      if (!entry.key) return
      room = Math.min(ROOM, room + entry.bytes)
      remove(entry.key)
    },
    update(entry) {
      if (entry.key) put(entry, entry.key)
    },
    pause: (until) => allowed() && write(prefix, `${until}`),
    hide: () => persist(Infinity),
  }
  delivery.pause(Math.min(+read(prefix), now() + LONGEST))
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState !== 'hidden') sweep()
  })
  win.addEventListener('pagehide', () => {
    if (!locks) for (const tab of owned) remove(prefix + tab)
    owned.clear()
    for (const release of releases) release()
    releases = []
  })
  win.addEventListener('pageshow', (event) => {
    if (event.persisted) delivery.hold(open()) // nothing is sent before it is known whose it is
  })
  win.addEventListener('online', () => sweep())
  win.setInterval(sweep, TICK)
  open()
}
