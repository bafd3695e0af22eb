// The public surface of @headwater/react.
export {
  type PageView,
  useAnalytics,
  useConsent,
  useGroup,
  useIdentify,
  usePage,
  useTrack,
  useTrackOnce,
} from './hooks.js'
export { type ConsentStore, HeadwaterProvider, type HeadwaterProviderProps } from './provider.js'

/** What the build writes in place of this name: the version of all SDKs. */
declare const __VERSION__: string | undefined

/** The version of this package. */
export const version: string = typeof __VERSION__ === 'string' ? __VERSION__ : 'development'
