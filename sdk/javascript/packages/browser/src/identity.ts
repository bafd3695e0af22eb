// Who the visitor is: ids and traits, as analytics.js handles them.
import type { Analytics, Group, Json, User } from './types.js'

const ANONYMOUS = 'ajs_anonymous_id'

/** One of the two identities: a user (`ajs_user_id`, `ajs_user_traits`) or a group. */
export function identity(sdk: Pick<Analytics, 'storage'>, kind: 'user' | 'group', newId: () => string) {
  const idKey = `ajs_${kind}_id`
  const traitsKey = kind === 'user' ? 'ajs_user_traits' : 'ajs_group_properties'
  const id = () => sdk.storage.get(idKey) as string | null
  const traits = (value?: Json): Json => {
    if (value) sdk.storage.set(traitsKey, value)
    return (sdk.storage.get(traitsKey) as Json | null) ?? {}
  }
  const anonymousId = (value?: string | null): string => {
    let known = value ?? (value === null ? null : (sdk.storage.get(ANONYMOUS) as string | null))
    if (known && !value) return known
    known ||= newId()
    sdk.storage.set(ANONYMOUS, known)
    return known
  }
  return {
    id,
    traits,
    properties: traits,
    anonymousId,
    /** Another id than the stored one: the old traits go and, for a user, the anonymous id too. */
    identify(next: string | null, added: Json): void {
      const before = id()
      const other = before !== null && next !== null && before !== next
      if (other && kind === 'user') anonymousId(null)
      if (next && next !== before) sdk.storage.set(idKey, next)
      traits(other ? added : { ...traits(), ...added })
    },
    /** Another year for the cookies, and both places agree again. */
    refresh(): void {
      for (const key of [idKey, ANONYMOUS]) {
        const known = sdk.storage.get(key)
        if (known) sdk.storage.set(key, known)
      }
    },
    reset(): void {
      for (const key of [idKey, traitsKey, kind === 'user' ? ANONYMOUS : idKey]) sdk.storage.set(key, null)
    },
  } satisfies User & Group & Record<string, unknown>
}
