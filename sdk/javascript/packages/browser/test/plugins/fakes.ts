// What plug-ins are given, small enough to look into.
import type { Analytics, Json, Message, Storage } from '../../src/types.js'

/** A storage that is a map. */
export function mapStorage(): Storage & { values: Map<string, unknown> } {
  const values = new Map<string, unknown>()
  return { values, get: (key) => values.get(key) ?? null, set: (key, value) => void values.set(key, value) }
}

/** An SDK that notes what it was asked to track. */
export function fakeSdk(storage: Storage = mapStorage()) {
  const tracked: [string, Json | undefined][] = []
  const sdk = {
    storage,
    track: (event: string, properties?: Json) => void tracked.push([event, properties]),
    setAnonymousId: (id?: string | null) => id ?? 'another',
  }
  return { sdk: sdk as unknown as Analytics & { storage: Storage }, tracked }
}

/** A track call as plug-ins see it. */
export function message(context: Json = {}, more: Partial<Message> = {}): Message {
  return { type: 'track', messageId: 'm1', timestamp: '2026-01-02T03:04:05.678Z', context, ...more }
}
