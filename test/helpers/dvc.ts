import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { type CommandResult, type Repo, run } from './repo.ts'
import { findProgram } from './server-process.ts'

/** Where a real dvc comes from; undefined when this machine has none. */
export function findDvc(): string | undefined {
  // .ci/run keeps its virtual environment in the cache folder; a machine that ran it once has DVC.
  return process.env.MLV_TEST_DVC || findProgram('dvc', [join(homedir(), '.cache', 'mlv-test', 'dvc', 'bin')])
}

export interface DvcRepo extends Repo {
  /** runs the real dvc; throws when it fails */
  dvc(...args: string[]): Promise<string>
  /** the same, without throwing */
  tryDvc(...args: string[]): Promise<CommandResult>
}

/** Gives a repo the real dvc and runs `dvc init`. DVC's own settings and caches of the user stay outside. */
export async function addDvc(repo: Repo, init: string[] = ['init', '-q']): Promise<DvcRepo> {
  const program = findDvc()!
  const env = {
    ...repo.env,
    // Its stages may call python, which lies beside it.
    PATH: `${dirname(program)}:${repo.env.PATH}`,
    DVC_NO_ANALYTICS: '1',
    DVC_GLOBAL_CONFIG_DIR: repo.path('../dvc-global'),
    DVC_SYSTEM_CONFIG_DIR: repo.path('../dvc-system'),
    DVC_SITE_CACHE_DIR: repo.path('../dvc-site'),
  }
  const tryDvc = (...args: string[]) => run(program, args, { cwd: repo.dir, env })
  const dvc = async (...args: string[]) => {
    const result = await tryDvc(...args)
    if (result.exitCode !== 0) throw new Error(`dvc ${args.join(' ')}: ${result.stderr}${result.stdout}`)
    return result.stdout
  }
  await dvc(...init)
  return { ...repo, dvc, tryDvc }
}
