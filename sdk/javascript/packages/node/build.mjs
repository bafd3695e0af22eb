// `npm run build`: bundles and declarations of this package.
import { clean, declarations, modules } from '../../tools/bundle.mjs'

clean()
await modules('src/index.ts', 'index')
declarations()
