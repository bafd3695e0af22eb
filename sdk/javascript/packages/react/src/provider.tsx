// The provider: which client, and which consent, the hooks below it use.
import type { Analytics, Options } from '@headwater/browser'
import type { preferences } from '@headwater/browser/plugins'
import { createContext, type ReactNode, useContext, useMemo } from 'react'
import { inert, shared } from './client.js'

/** What `preferences()` of `@headwater/browser/plugins` makes. */
export type ConsentStore = ReturnType<typeof preferences>

export interface HeadwaterProviderProps {
  children?: ReactNode
  /** Loads the SDK with this key, once for each page, whatever renders how often. */
  writeKey?: string
  /** What `load` takes; read when the SDK is loaded, later changes are not. */
  options?: Options
  /** A client that you have loaded yourself, instead of `writeKey`. */
  analytics?: Analytics
  /** For `useConsent`: the store that the consent plug-in was given as its source. */
  consent?: ConsentStore
}

export interface Provided {
  analytics: Analytics
  consent: ConsentStore | null
}

const Context = createContext<Provided | null>(null)
const NONE: Provided = { analytics: inert, consent: null }

/** Put it near the root. It renders nothing of its own and does nothing on a server. */
export function HeadwaterProvider(props: HeadwaterProviderProps): ReactNode {
  const { children, writeKey, options, analytics, consent } = props
  // Safe while rendering: the second call for a key finds what the first has made.
  const client = analytics ?? (writeKey ? shared(writeKey, options) : inert)
  const value = useMemo(() => ({ analytics: client, consent: consent ?? null }), [client, consent])
  return <Context.Provider value={value}>{children}</Context.Provider>
}

/** What the provider above gives. Without one nothing is sent, and nothing breaks: analytics must not take an app down. */
export function useProvided(): Provided {
  const found = useContext(Context)
  if (!found) warn()
  return found ?? NONE
}

/** What bundlers and Node provide; a page without either has none. */
declare const process: { env: { NODE_ENV?: string } } | undefined

let warned = false

function warn(): void {
  if (warned || typeof process === 'undefined' || process.env.NODE_ENV === 'production') return
  warned = true
  // biome-ignore lint/suspicious/noConsole: a developer's mistake, told once, in development only
  console.error('A Headwater hook is used without <HeadwaterProvider> above it: its events are not sent.')
}
