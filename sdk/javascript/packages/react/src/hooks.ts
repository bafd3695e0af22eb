// The hooks. What they send from effects is sent once for each value: StrictMode runs effects twice, and a re-render is no event.
import type { Analytics, Json } from '@headwater/browser'
import type { Preferences } from '@headwater/browser/plugins'
import { useEffect, useRef, useSyncExternalStore } from 'react'
import { useProvided } from './provider.js'

/** The SDK itself. Call it from event handlers and effects, not while rendering. */
export function useAnalytics(): Analytics {
  return useProvided().analytics
}

/** `const track = useTrack()`, for event handlers; the same function at each render. */
export function useTrack(): Analytics['track'] {
  return useAnalytics().track
}

export interface PageView {
  name?: string
  category?: string
  properties?: Json
  /** Another key is another page view: the path, in apps with a router; null: not known yet. Default: the other three. */
  key?: string | null
}

/** A page view when the component appears, and one for each new key. Leave the plug-in `spa` out where you use it. */
export function usePage(view: PageView = {}): void {
  const { page } = useAnalytics()
  const { name, category, properties = {}, key } = view
  useOnce(key === undefined ? text([category, name, properties]) : key, () => {
    const named = category ? [category, name ?? ''] : name ? [name] : []
    page(...named, properties)
  })
}

/** An event when the component appears, and one for each new key (by default: other properties). */
export function useTrackOnce(event: string, properties?: Json, key?: string): void {
  const { track } = useAnalytics()
  useOnce(key ?? text([event, properties]), () => track(event, properties))
}

/** Says who the visitor is when that is known, and again when id or traits change. Null or undefined: not known yet. */
export function useIdentify(userId: string | null | undefined, traits?: Json): void {
  const { identify } = useAnalytics()
  useOnce(userId ? text([userId, traits]) : null, () => identify(userId, traits))
}

/** Says which account the visitor belongs to, likewise. */
export function useGroup(groupId: string | null | undefined, traits?: Json): void {
  const { group } = useAnalytics()
  useOnce(groupId ? text([groupId, traits]) : null, () => group(groupId ?? null, traits))
}

/** What the visitor allows, null before they were asked, and the function that a banner calls with their answer. */
export function useConsent(): [Preferences | null, (preferences: Preferences | null) => void] {
  const store = useProvided().consent ?? NO_STORE
  return [useSyncExternalStore(store.subscribe, store.get, unknown), store.set]
}

const unknown = () => null // a server does not know the visitor
const NO_STORE = { get: unknown, set: () => undefined, subscribe: () => () => undefined }

/** Calls once for each key. The ref outlives StrictMode's second mount, which is the same component, but no real one. */
function useOnce(key: string | null, call: () => void): void {
  const done = useRef<string | null>(null)
  useEffect(() => {
    if (key === null || key === done.current) return
    done.current = key
    call()
  })
}

/** A text that is equal for equal values; what JSON cannot say (a cycle, a bigint) does not make a new event. */
function text(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    return ''
  }
}
