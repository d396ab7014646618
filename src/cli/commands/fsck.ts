import { MlvError } from '../../base/errors.ts'
import type { Part } from '../../store/verify.ts'
import type { FsckReport } from '../../workspace/fsck.ts'
import { type Configure, example } from '../command.ts'
import { collect, parseJobs } from '../typed-paths.ts'

interface FsckFlags {
  remote?: string | true
  rev?: string[]
  allBranches?: boolean
  allTags?: boolean
  allCommits?: boolean
  readData?: Part | true
  repair?: boolean
  jobs?: number
}

/** @throws USAGE */
function parsePart(text: string): Part {
  const [, n, of] = /^([1-9][0-9]{0,5})\/([1-9][0-9]{0,5})$/.exec(text) ?? []
  if (n !== undefined && Number(n) <= Number(of)) return { n: Number(n), of: Number(of) }
  throw new MlvError('USAGE', `--read-data takes N/T, the N-th of T parts, not "${text}"`, {
    hint: 'For example --read-data=3/7, or --read-data alone for all of it.',
  })
}

/** The options a repair needs to see what this check saw. */
function scopeWords({ rev = [], allBranches, allTags, allCommits, readData }: FsckFlags): string[] {
  return [
    ...rev.flatMap((name) => ['--rev', name]),
    ...(allBranches ? ['--all-branches'] : []),
    ...(allTags ? ['--all-tags'] : []),
    ...(allCommits ? ['--all-commits'] : []),
    ...(readData ? [readData === true ? '--read-data' : `--read-data=${readData.n}/${readData.of}`] : []),
  ]
}

/** What is still wrong at the end is an error, after all else was told. @throws OBJECT_MISSING, OBJECT_CORRUPT, TREE_INVALID */
function failOnFaults(report: FsckReport, flags: FsckFlags): void {
  const { repairs, remote } = report
  const left = repairs ? repairs.left : report.lost
  const faults = repairs ? [] : report.faults
  if (left.length + faults.length === 0) return
  const place = remote === undefined ? 'The cache' : `The remote ${remote}`
  const command = ['mlv fsck', ...(remote === undefined ? [] : ['--remote', remote]), ...scopeWords(flags), '--repair'].join(' ')
  const hint = repairs
    ? remote === undefined
      ? 'No place that could be asked has it. Push it from a clone that has it, then run "mlv pull".'
      : `Run "${command}" in a clone that has it.`
    : `Run "${command}" to mend it.`
  if (left.some(({ loss }) => loss === 'invalid' || loss === 'size'))
    throw new MlvError('TREE_INVALID', `${place} holds trees that are not as they should be`, {
      hint: 'They were made by a broken or hostile program; restore the pointers from an earlier commit.',
    })
  const isCorrupt = faults.length > 0 || left.some(({ loss }) => loss === 'corrupt')
  if (isCorrupt) throw new MlvError('OBJECT_CORRUPT', `${place} is damaged`, { hint })
  const isUnpushed = remote !== undefined && !repairs
  const undo = `mlv gc${remote === undefined ? '' : ` --remote ${remote}`} --undo`
  throw new MlvError('OBJECT_MISSING', `${place} lacks ${left.length} needed object${left.length === 1 ? '' : 's'}`, {
    hint: report.isCondemned
      ? `"mlv gc" has condemned what is still there: take it back with "${undo}".`
      : isUnpushed
        ? `Run "mlv push" where the data was added, or "${command}" to send what this clone has of it.`
        : hint,
  })
}

export const configure: Configure = (command, act) => {
  command
    .option('-r, --remote [name]', 'check this remote, or the default one, instead of the cache')
    .option('--rev <revision>', 'all that this revision needs must be there; may be given more than once', collect)
    .option('-a, --all-branches', 'the same for the tips of all branches')
    .option('-T, --all-tags', 'the same for all tags')
    .option('--all-commits', 'the same for every commit of every branch and tag')
    .option('--read-data [n/t]', 'read and hash the data, too; n/t: the n-th of t parts', parsePart)
    .option('--repair', 'mend what can be mended, from the other side or from the workspace')
    .option('-j, --jobs <count>', 'transfers at once', parseJobs)
  example(command, 'mlv fsck', 'mlv fsck --remote origin --rev HEAD', 'mlv fsck --remote --read-data=3/7 --repair')
  command.action(
    act(async (context, flags: FsckFlags) => {
      const project = await context.project()
      const [{ fsck }, { renderFsck }] = await Promise.all([import('../../workspace/fsck.ts'), import('../render/fsck.ts')])
      const part = flags.readData === true ? { n: 1, of: 1 } : flags.readData
      const report = await fsck(project, {
        remote: flags.remote === true ? '' : flags.remote,
        revisions: flags.rev,
        allBranches: flags.allBranches,
        allTags: flags.allTags,
        allCommits: flags.allCommits,
        part,
        repair: flags.repair,
        jobs: flags.jobs,
      })
      context.output.answer(report, () => renderFsck(report, part))
      failOnFaults(report, flags)
    }),
  )
}
