// Clicks on links as `track` calls. The click goes on at once: the SDK's queue outlives the page, so nothing waits for an answer.
import type { Plugin } from '../plugin.js'
import type { Analytics, Json } from '../types.js'
import { address, closest, words } from './clicks.js'

export interface LinkOptions {
  /** Which elements count. Default: every link that leads somewhere. */
  selector?: string
  /** Name of the event. Default: `Link Clicked`. */
  event?: string
  /** Only links that leave this site, or start a download. Default: false. */
  outbound?: boolean
  /** More properties, or null for no event. */
  properties?: (element: Element) => Json | null
}

/** Elements inside `[data-headwater-ignore]` are left out. */
export function links(options: LinkOptions = {}): Plugin {
  return {
    name: 'links',
    setup(sdk) {
      const clicked = (event: MouseEvent) => {
        // auxclick is also the right button, which opens a menu and no link
        if (event.button > 1) return
        const element = closest(event, options.selector ?? 'a[href],area[href]')
        if (element) report(sdk, element, options)
      }
      document.addEventListener('click', clicked, true)
      document.addEventListener('auxclick', clicked, true)
    },
  }
}

/** analytics.js's call: track each click on these elements; returns what stops it. */
export function trackLink(
  sdk: Pick<Analytics, 'track'>,
  elements: Element | Iterable<Element>,
  event: string | ((element: Element) => string),
  properties?: Json | ((element: Element) => Json),
): () => void {
  return listen('click', elements, (element) => {
    sdk.track(typeof event === 'function' ? event(element) : event, filled(properties, element))
  })
}

/** The same for forms: track each submission. */
export function trackForm(...[sdk, elements, event, properties]: Parameters<typeof trackLink>): () => void {
  return listen('submit', elements, (element) => {
    sdk.track(typeof event === 'function' ? event(element) : event, filled(properties, element))
  })
}

function listen(
  type: string,
  elements: Element | Iterable<Element>,
  call: (element: Element) => void,
): () => void {
  const all = elements instanceof Element ? [elements] : [...elements]
  const heard = (event: Event) => call(event.currentTarget as Element)
  for (const element of all) element.addEventListener(type, heard)
  return () => {
    for (const element of all) element.removeEventListener(type, heard)
  }
}

function filled(properties: Parameters<typeof trackLink>[3], element: Element): Json {
  return (typeof properties === 'function' ? properties(element) : properties) ?? {}
}

function report(sdk: Analytics, element: Element, options: LinkOptions): void {
  const href = element.getAttribute('href') ?? ''
  const target = address(href)
  const outbound = target.startsWith('http') && new URL(target).host !== location.host
  const download = element.hasAttribute('download')
  if (options.outbound && !outbound && !download) return
  const more = options.properties ? options.properties(element) : {}
  if (!more) return
  const found = { href: target, outbound, ...(download && { download }), ...words(element) }
  sdk.track(options.event ?? 'Link Clicked', { ...found, ...more })
}
