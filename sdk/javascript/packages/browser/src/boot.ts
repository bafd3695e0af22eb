// What the scripts for a tag do when they run: take the place of the snippet's queueing stub and replay its calls, or load from the
// attributes of the tag:
// <script async src="https://collect.example.com/sdk/v1/headwater.js" data-write-key="wk_web"></script>
import { load } from './load.js'
import type { Analytics, Options } from './types.js'
import { version } from './version.js'

/** The snippet's array: calls as [method, ...arguments], and what its `load` noted. */
type Stub = Array<[method: string, ...args: unknown[]]> & {
  _writeKey?: string
  _loadOptions?: Options
  _cdn?: string
}

type Global = Record<string, unknown>

/** Segment's snippet appends what the page looked like at the call. */
const isSnapshot = (arg: unknown) => (arg as { __t?: string } | null)?.__t === 'bpc'

/** Calls what the stub noted, in order; later pushes (a page that kept the stub) go straight through. */
function replay(stub: Stub, sdk: Analytics): void {
  const call = ([method, ...args]: Stub[0]) => {
    const run = (sdk as unknown as Record<string, unknown>)[method]
    if (typeof run === 'function') run(...args.filter((arg) => !isSnapshot(arg)))
    return 0
  }
  stub.splice(0).forEach(call)
  stub.push = (...calls) => calls.map(call).length
}

/** Loads from a stub or from the attributes of the tag. Without either, `window.headwater.load(key, options)` is there to be called. */
export function boot(win: Global, script: HTMLScriptElement | null, plugins: Options['plugins'] = []): void {
  const data = script?.dataset ?? {}
  const origin = script?.src ? new URL(script.src).origin : undefined
  const names = data.global ? [data.global] : ['headwater', 'analytics']
  const name = names.find((known) => Array.isArray(win[known])) ?? names[0]!
  const stub = (Array.isArray(win[name]) ? win[name] : []) as Stub
  const start = (writeKey: string, options: Options = {}) => {
    const sdk = load(writeKey, {
      host: data.host ?? stub._cdn ?? origin,
      ...options,
      plugins: [...plugins, ...(options.plugins ?? [])],
    })
    win[name] = sdk
    replay(stub, sdk)
    return sdk
  }
  const key = stub._writeKey ?? data.writeKey
  if (key) start(key, stub._loadOptions)
  else win[name] = { load: start, version }
}
