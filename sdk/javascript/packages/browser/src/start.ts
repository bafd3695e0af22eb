// What the scripts for a tag do when they run: take the place of the snippet's queueing stub and replay its calls, or load from the
// attributes of the tag:
// <script async src="https://collect.example.com/sdk/v1/headwater.js" data-write-key="wk_web"></script>
import { createAnalytics } from './analytics.js'
import type { Offline } from './offline.js'
import { page as platform } from './platform.js'
import type { Options } from './types.js'

/** The snippet's array: calls as [method, ...arguments], and what its `load` noted. */
type Stub = Array<[method: string, ...args: unknown[]]> & {
  _writeKey?: string
  _loadOptions?: Options
  _cdn?: string
}

export type Global = Record<string, unknown>
export type Script = HTMLScriptElement | null

/** Loads from a stub or from the attributes of the tag. Without either, `window.headwater.load(key, options)` is there to be called. */
export function start(
  page: Global,
  script: Script,
  plugins: Options['plugins'] = [],
  offline?: Offline,
): void {
  const data: DOMStringMap = script ? script.dataset : {}
  const name = data.global || (Array.isArray(page.analytics) ? 'analytics' : 'headwater')
  let stub = page[name] as Stub
  if (!Array.isArray(stub)) {
    if (Object(stub).track) return // the tag is in the page twice
    stub = []
  }
  const key = stub._writeKey || data.writeKey

  const load = (writeKey: string, options: Options = {}) => {
    const host = data.host || stub._cdn || (script && script.src && new URL(script.src).origin)
    const settings = { host, ...options, plugins: [...plugins, ...(options.plugins || [])] } as Options
    const sdk = createAnalytics(platform(), writeKey, settings, offline) as unknown as Global
    // Segment's snippet appends what the page looked like at the call, and has methods that are not ours.
    const call = ([method, ...args]: Stub[0]) => {
      const run = sdk[method] as ((...args: unknown[]) => void) | undefined
      if (run) run(...args.filter((arg) => Object(arg).__t !== 'bpc'))
    }
    page[name] = sdk
    stub.forEach(call)
    // A script that kept the stub goes on using it.
    stub.push = (...calls) => {
      calls.forEach(call)
      return 0
    }
    return sdk
  }
  if (key) load(key, stub._loadOptions)
  else page[name] = { load }
}
