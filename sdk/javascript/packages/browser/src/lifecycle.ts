// The life of the page: prerendered, shown, hidden, kept in the back/forward cache, offline; and the look for closed tabs.
import type { Delivery } from './delivery.js'
import type { Platform } from './platform.js'
import type { Entry, Queue } from './queue.js'
import { type Shelf, TICK } from './shelf.js'

export function lifecycle(platform: Platform, shelf: Shelf, queue: Queue, delivery: Delivery): void {
  const { window: win } = platform
  const { document } = win

  /** Takes over what closed tabs left, and sends it. */
  async function sweep(known = new Map<string, Entry>()): Promise<void> {
    await shelf.sweep((key, text) => {
      if (!known.delete(key)) queue.adopt(key, text)
    })
    if (queue.length()) delivery.wake(0)
  }

  /** Back from the back/forward cache: what other pages took over meanwhile is theirs. */
  async function back(): Promise<void> {
    const known = new Map<string, Entry>()
    for (const entry of queue.pending) if (entry.key) known.set(entry.key, entry)
    await shelf.open()
    await sweep(known)
    for (const entry of known.values()) queue.finish(entry, 'handed_over')
  }

  // A page that is prerendered and never shown has not been visited: nothing of it is sent or stored.
  if ((document as { prerendering?: boolean }).prerendering) {
    delivery.hold(
      new Promise((resolve) => document.addEventListener('prerenderingchange', resolve, { once: true })),
    )
  }
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'hidden') delivery.hide(false)
    else sweep()
  })
  win.addEventListener('pagehide', () => {
    delivery.hide(true)
    shelf.release()
  })
  win.addEventListener('pageshow', (event) => {
    if (event.persisted) back()
  })
  win.addEventListener('online', () => {
    delivery.online()
    sweep()
  })
  shelf.open().then(() => sweep())
  win.setInterval(sweep, TICK)
}
