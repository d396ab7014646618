import { MlvError } from '../../base/errors.ts'
import type { UrlSource } from '../../workspace/source.ts'
import { type Configure, example } from '../command.ts'
import { tellWritten } from '../tell-written.ts'
import { typedPaths } from '../typed-paths.ts'

interface ImportUrlOptions {
  out?: string
  force?: boolean
  toRemote?: boolean
  inPlace?: boolean
  remote?: string
  endpoint?: string
  region?: string
  profile?: string
  pathStyle?: boolean
}

/** The last name in a url, as a file here would be called. @throws USAGE where there is none */
function nameOfUrl(url: string): string {
  const path = /^[a-z0-9+.-]+:\/\/[^/?#]*([^?#]*)/i.exec(url)?.[1] ?? url
  const name = path.replace(/\/+$/, '').split('/').at(-1) ?? ''
  try {
    const decoded = /^https?:/i.test(url) ? decodeURIComponent(name) : name
    if (decoded !== '' && !decoded.includes('/')) return decoded
  } catch (error) {
    if (!(error instanceof URIError)) throw error
  }
  throw new MlvError('USAGE', 'The url ends in no name that the data could have here', { hint: 'Give one with -o.' })
}

export const configure: Configure = (command, act) => {
  command
    .argument('<url>', 's3://BUCKET/KEY, s3://BUCKET/PREFIX/ or https://…')
    .option('-o, --out <path>', 'where to put it; its own name in the current folder by default')
    .option('-f, --force', 'replace what is there')
    .option('--to-remote', 'straight into the remote: neither the cache nor the workspace gets the data')
    .option('--in-place', 'copy nothing: hash what lies in the bucket, and keep where it lies')
    .option('-r, --remote <name>', 'another remote than the default one, with --to-remote')
    .option('--endpoint <url>', 'where an S3-compatible server listens; by default as for a remote in the same bucket')
    .option('--region <name>', 'region of the bucket')
    .option('--profile <name>', 'profile of your AWS configuration')
    .option('--path-style', 'http://server/bucket instead of http://bucket.server')
  example(command, 'mlv import-url s3://bucket/raw/2024/ -o raw', 'mlv import-url https://example.org/iris.csv')
  command.action(
    act(async (context, url: string, options: ImportUrlOptions) => {
      const project = await context.project()
      const [{ importUrl }, { renderImported }, { refuseStageOuts }] = await Promise.all([
        import('../../workspace/import-url.ts'),
        import('../render/imports.ts'),
        import('../stage-outs.ts'),
      ])
      const [out] = typedPaths(project, [options.out ?? nameOfUrl(url)])
      await refuseStageOuts(project, [out!])
      const { endpoint, region, profile, pathStyle: path_style, toRemote = false, remote, force = false } = options
      const source: UrlSource = { url, endpoint, region, profile, path_style, in_place: options.inPlace }
      const result = await importUrl(project, source, { out: out!, force, toRemote, remote })
      context.output.answer(result, () => (context.output.quiet ? '' : renderImported([result])))
      await tellWritten(project, context.output, result.written)
    }),
  )
}
