// What the page says about itself, on every event.
import type { Json } from './types.js'

/** url and path follow the canonical link, as analytics.js's do; `search` keeps its question mark. */
export function pageContext({ document, location }: Window): Json {
  const canonical = document.querySelector<HTMLLinkElement>('link[rel=canonical]')?.href
  let url = location.href.split('#')[0]!
  let path = location.pathname
  try {
    if (canonical) {
      const link = new URL(canonical)
      path = link.pathname
      url = canonical.split('#')[0]! + (link.search ? '' : location.search)
    }
  } catch {
    // a canonical link that is no address: the page's own is true in any case
  }
  return { path, referrer: document.referrer, search: location.search, title: document.title, url }
}

/** utm_campaign is `name`, any other utm_X is `X`; undefined where the address has none. */
export function campaign(search: string): Json | undefined {
  const found: Json = {}
  if (!/utm_/.test(search)) return
  new URLSearchParams(search).forEach((value, key) => {
    if (/^utm_./.test(key)) found[key === 'utm_campaign' ? 'name' : key.slice(4)] = value
  })
  return found
}

/** What stays the same while the page lives. */
export function deviceContext(win: Window & typeof globalThis): Json {
  const { navigator, screen, devicePixelRatio } = win
  const hints = (navigator as { userAgentData?: { brands: unknown; mobile: boolean; platform: string } })
    .userAgentData
  return {
    userAgent: navigator.userAgent,
    userAgentData: hints && { brands: hints.brands, mobile: hints.mobile, platform: hints.platform },
    locale: navigator.language,
    timezone: win.Intl.DateTimeFormat().resolvedOptions().timeZone,
    screen: screen && { width: screen.width, height: screen.height, density: devicePixelRatio },
  }
}
