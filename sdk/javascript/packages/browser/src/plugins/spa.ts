// Page views in single-page apps: one `page` call for each navigation through the history, none for a mere change of state.
import type { Plugin } from '../plugin.js'
import type { Analytics, Json } from '../types.js'

export interface SpaOptions {
  /** Also count changes of the part behind `#`, for apps that route by it. Default: false. */
  hash?: boolean
  /** Name and properties of the page view, or null for none. Default: no name, the page's own properties. */
  page?: (url: URL) => { name?: string; category?: string; properties?: Json } | null
}

/** The first page view stays the page's own `page()` call, as in every snippet. */
export function spa(options: SpaOptions = {}): Plugin {
  return { name: 'spa', setup: (sdk) => watch(sdk, options) }
}

function watch(sdk: Analytics, options: SpaOptions): void {
  const place = () =>
    location.origin + location.pathname + location.search + (options.hash ? location.hash : '')
  let seen = place()
  let waiting = false
  const look = () => {
    waiting = false
    const now = place()
    if (now === seen) return
    const referrer = seen
    seen = now
    const view = options.page ? options.page(new URL(location.href)) : {}
    if (!view) return
    const named = view.category ? [view.category, view.name ?? ''] : view.name ? [view.name] : []
    sdk.page(...named, { referrer, ...view.properties })
  }
  // A task later the framework has set the title, and a redirect has replaced its entry: one navigation, one page view.
  const moved = () => {
    if (!waiting) setTimeout(look)
    waiting = true
  }
  for (const name of ['pushState', 'replaceState'] as const) {
    const original = history[name]
    history[name] = function (this: History, ...rest: Parameters<History['pushState']>) {
      original.apply(this, rest)
      moved()
    }
  }
  addEventListener('popstate', moved)
  if (options.hash) addEventListener('hashchange', moved)
}
