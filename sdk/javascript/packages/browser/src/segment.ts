// The script that a page gets which keeps Segment's snippet: headwater.js with the methods that the snippet's stub has beside ours.
import { boot } from './boot.js'
import type { Plugin } from './plugin.js'
import { trackForm, trackLink } from './plugins/links.js'
import type { Analytics, Json } from './types.js'

type Tracked = Parameters<typeof trackLink> extends [unknown, ...infer Rest] ? Rest : never

/** Before the stub's calls are replayed, so that none of them is unknown. */
export const segmentMethods: Plugin = {
  name: 'segment-methods',
  setup(sdk: Analytics) {
    const chained =
      <A extends unknown[]>(run: (...args: A) => unknown) =>
      (...args: A): Analytics => {
        run(...args)
        return sdk
      }
    const link = chained((...tracked: Tracked) => trackLink(sdk, ...tracked))
    const form = chained((...tracked: Tracked) => trackForm(sdk, ...tracked))
    const nothing = () => sdk // there are no device-mode destinations that a middleware could be for
    const more: Json = {
      trackLink: link,
      trackClick: link,
      trackForm: form,
      trackSubmit: form,
      pageview: chained((url?: string) => sdk.page(url ? { url } : {})),
      addIntegrationMiddleware: nothing,
      addDestinationMiddleware: nothing,
      initialize: nothing,
      initialized: true, // the snippet, included twice, leaves us alone
    }
    Object.assign(sdk, more)
  },
}

boot(window as unknown as Record<string, unknown>, document.currentScript as HTMLScriptElement | null, [
  segmentMethods,
])
