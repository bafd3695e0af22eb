// @headwater/node: what an app imports.
export { Analytics, type FlushOptions } from './analytics.js'
export type { Account, B2b, Invite, SignUp, Subject, Trial } from './b2b.js'
export type { Admitted, Calls, Scoped } from './calls.js'
export type { Events } from './emitter.js'
export type { Plugin, PluginContext } from './middleware.js'
export type { AnalyticsSettings, Overflow } from './settings.js'
export type { FetchLike, HttpClient, HttpRequest, HttpResponse } from './transport.js'
export type * from './types.js'
export { version } from './version.js'

import { Analytics } from './analytics.js'

export default Analytics
