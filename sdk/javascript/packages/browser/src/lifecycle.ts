// The life of the page: prerendered, hidden, gone, offline.
import type { Delivery } from './delivery.js'
import type { Platform } from './platform.js'

export function lifecycle({ window: win }: Platform, delivery: Delivery): void {
  const { document } = win
  // A page that is prerendered and never shown has not been visited: nothing of it is sent or stored.
  if ((document as { prerendering?: boolean }).prerendering) {
    delivery.hold(new Promise((resolve) => document.addEventListener('prerenderingchange', resolve)))
  }
  document.addEventListener('visibilitychange', (event) => {
    if (document.visibilityState === 'hidden') delivery.hide(event)
  })
  win.addEventListener('pagehide', delivery.hide)
  win.addEventListener('online', delivery.online)
}
