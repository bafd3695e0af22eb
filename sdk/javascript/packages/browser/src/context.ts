// What the page says about itself, on every event.
import { attempt } from './storage.js'
import type { Json } from './types.js'

/** url and path follow the canonical link, as analytics.js's do; `search` keeps its question mark. */
export function pageContext({ document, location }: Window): Json {
  const canonical = document.querySelector<HTMLLinkElement>('link[rel=canonical]')
  const link = (canonical && attempt(() => new URL(canonical.href))) || location
  const { search } = location
  return {
    path: link.pathname,
    referrer: document.referrer,
    search,
    title: document.title,
    url: link.href.split(/[?#]/)[0]! + (link.search || search),
  }
}

/** utm_campaign is `name`, any other utm_X is `X`; undefined where the address has none. */
export function campaign(search: string): Json | undefined {
  let found: Json | undefined
  if (!/utm_/.test(search)) return
  new URLSearchParams(search).forEach((value, key) => {
    const name = key.split('utm_')[1]
    if (name) found = { ...found, [name === 'campaign' ? 'name' : name]: value }
  })
  return found
}

/** What stays the same while the page lives. */
export function deviceContext(win: Window & typeof globalThis): Json {
  const { navigator, screen } = win
  // What costs no question, by its toJSON: brands, mobile, platform.
  const hints = (navigator as { userAgentData?: unknown }).userAgentData
  return {
    userAgent: navigator.userAgent,
    userAgentData: hints,
    locale: navigator.language,
    timezone: win.Intl.DateTimeFormat().resolvedOptions().timeZone,
    screen: screen && { width: screen.width, height: screen.height, density: win.devicePixelRatio },
  }
}
