import type { UrlSource } from '../../workspace/source.ts'
import { type Configure, example } from '../command.ts'
import { formatBytes, plural } from '../render/amount.ts'
import { openNamed } from '../revision-arguments.ts'
import { typedPaths } from '../typed-paths.ts'

interface ExportOptions {
  rev?: string
  force?: boolean
  dryRun?: boolean
  endpoint?: string
  region?: string
  profile?: string
  pathStyle?: boolean
}

export const configure: Configure = (command, act) => {
  command
    .argument('<path>', 'a tracked path, or a file or folder in one')
    .argument('<destination>', 's3://BUCKET/PREFIX or a folder')
    .option('--rev <revision>', "as it was there; the workspace's pointer by default")
    .option('-f, --force', 'overwrite files that differ')
    .option('--dry-run', 'say what would be done')
    .option('--endpoint <url>', 'where an S3-compatible server listens; by default as for a remote in the same bucket')
    .option('--region <name>', 'region of the bucket')
    .option('--profile <name>', 'profile of your AWS configuration')
    .option('--path-style', 'http://server/bucket instead of http://bucket.server')
  example(command, 'mlv export data s3://lake/datasets/points --rev v1.0', 'mlv export data /srv/www/data')
  command.action(
    act(async (context, typed: string, url: string, options: ExportOptions) => {
      const project = await context.project()
      const { exportPath } = await import('../../workspace/export.ts')
      const [path] = typedPaths(project, [typed])
      const { endpoint, region, profile, pathStyle: path_style, force = false, dryRun = false } = options
      const to: UrlSource = { url, endpoint, region, profile, path_style }
      const revision = await openNamed(project, options.rev)
      const result = await exportPath(project, { path: path!, revision, to, force, dryRun })
      context.output.answer({ path, to: url, ...result }, () => {
        if (context.output.quiet) return ''
        const same = result.same > 0 ? `; ${plural(result.same, 'file')} there already` : ''
        return `${dryRun ? 'would write' : 'wrote'} ${plural(result.files, 'file')}, ${formatBytes(result.bytes)}, to ${url}${same}`
      })
      if (result.links.length > 0)
        context.output.warn(
          `a bucket has no symbolic links: ${plural(result.links.length, 'link')} left out, first ${result.links.sort()[0]}`,
        )
    }),
  )
}
