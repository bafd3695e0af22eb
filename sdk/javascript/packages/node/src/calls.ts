// The six calls, as a client and a scope of it have them.
import { B2b } from './b2b.js'
import type {
  AliasParams,
  Callback,
  GroupParams,
  IdentifyParams,
  Kind,
  PageParams,
  Params,
  Scope,
  TrackParams,
} from './types.js'

/** Resolves when the event is in the queue; only with `overflow: 'block'` is there anything to wait for. */
export type Admitted = PromiseLike<void>

export type Accept = (kind: Kind, params: Params, callback: Callback | undefined, scope?: Scope) => Admitted

/** Functions rather than methods, so that `const { track } = analytics` works as it does with Segment's. */
export class Calls {
  private lazyB2b: B2b | undefined

  constructor(private readonly accept: Accept) {}

  /** Something that a user did. */
  readonly track = (params: TrackParams, callback?: Callback): Admitted =>
    this.accept('track', params, callback)

  /** Who a user is. */
  readonly identify = (params: IdentifyParams, callback?: Callback): Admitted =>
    this.accept('identify', params, callback)

  /** A page that was seen. */
  readonly page = (params: PageParams, callback?: Callback): Admitted => this.accept('page', params, callback)

  /** A screen of an app that was seen. */
  readonly screen = (params: PageParams, callback?: Callback): Admitted =>
    this.accept('screen', params, callback)

  /** The account that a user belongs to, and what is known about it. */
  readonly group = (params: GroupParams, callback?: Callback): Admitted =>
    this.accept('group', params, callback)

  /** Two ids that are one user. */
  readonly alias = (params: AliasParams, callback?: Callback): Admitted =>
    this.accept('alias', params, callback)

  /** The ten events of a business application, with the account they concern. */
  get b2b(): B2b {
    this.lazyB2b ??= new B2b(this.track)
    return this.lazyB2b
  }
}

/** Calls that carry a scope of their own. */
export class Scoped extends Calls {
  constructor(accept: Accept, scope: Scope) {
    super((kind, params, callback) => accept(kind, params, callback, scope))
  }
}
