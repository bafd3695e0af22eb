// Who the visitor is: ids and traits, as analytics.js handles them.
import { attempt } from './storage.js'
import type { Analytics, Group, Json, User } from './types.js'

const ANONYMOUS = 'ajs_anonymous_id'

export interface Identity extends User, Group {
  /** Another id than the stored one: the old traits go and, for a user, the anonymous id too. */
  become(id: string | undefined, added: Json): void
  forget(): void
}

/** One of the two identities: a user (`ajs_user_id`, `ajs_user_traits`) or a group. */
export function identity(sdk: Analytics, kind: 'user' | 'group', newId: () => string): Identity {
  const isUser = kind === 'user'
  const idKey = `ajs_${kind}_id`
  const traitsKey = isUser ? 'ajs_user_traits' : 'ajs_group_properties'
  // A storage that the page gave may throw.
  const get = (key: string) => attempt(() => sdk.storage.get(key))
  const set = (key: string, value: unknown) => attempt(() => sdk.storage.set(key, value))

  const id = () => get(idKey) as string | null
  const traits = (value?: Json) => {
    if (value) set(traitsKey, value)
    return (get(traitsKey) || {}) as Json
  }
  const anonymousId = (value?: string | null) => {
    const known = value === null ? value : value || (get(ANONYMOUS) as string | null)
    const now = known || newId()
    if (value || !known) set(ANONYMOUS, now)
    return now
  }
  return {
    id,
    traits,
    properties: traits,
    anonymousId,
    become(next, added) {
      const before = id()
      const other = before && next && before !== next
      if (other) {
        set(traitsKey, null)
        if (isUser) anonymousId(null)
      }
      if (next) set(idKey, next)
      // What JSON cannot say throws here, before it is kept and spoils every later call.
      traits({ ...traits(), ...JSON.parse(JSON.stringify(added)) })
    },
    forget() {
      set(idKey, null)
      set(traitsKey, null)
      if (isUser) set(ANONYMOUS, null)
    },
  }
}
