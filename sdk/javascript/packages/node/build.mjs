// `npm run build`: bundles and declarations of this package.
import { clean, declarations, modules } from '../../tools/bundle.mjs'

clean()
for (const entry of ['index', 'http', 'testing']) {
  await modules(`src/${entry}.ts`, entry, { platform: 'neutral', mainFields: [] })
}
declarations()
