// The browser bundle of the tests: stock @segment/analytics-next on window, unmodified.
import { AnalyticsBrowser } from '@segment/analytics-next'

window.AnalyticsBrowser = AnalyticsBrowser
