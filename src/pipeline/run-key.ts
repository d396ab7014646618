import { type Oid, oidOfBytes } from '../base/oid.ts'
import { compareUtf8 } from '../base/paths.ts'
import { canonicalJson } from './canonical-json.ts'
import type { StageInputs } from './inputs.ts'
import type { LockedOut, LockedStage } from './lock.ts'
import type { Stage } from './stage.ts'

/** The number in every key: another way to compute it gets another number. */
const RUN_KEY_FORMAT = 1

/** The SHA-256 of all that decides a stage's result: command, folder, oids of the deps, values of params and env, names and flags of the outs.
 *  The list is docs/pipelines.md's. Sizes and the outs' contents are no part of it. */
export function runKey(
  stage: Pick<LockedStage, 'cmd' | 'wdir' | 'shell' | 'deps' | 'params' | 'env' | 'each'> & {
    outs: Pick<LockedOut, 'path' | 'git' | 'persist'>[]
  },
): Oid {
  return oidOfBytes(
    canonicalJson([
      RUN_KEY_FORMAT,
      stage.cmd,
      stage.wdir,
      stage.deps.map(({ path, entry }) => [path, entry.kind, entry.oid]),
      stage.params.map(({ file, key, value }) => [file, key, value]),
      stage.env.map(({ name, value }) => [name, value]),
      stage.outs.map(({ path, git, persist }) => [path, git, persist]),
      // Keys of stages that name none stay what they are.
      ...(stage.shell === '' && stage.each === undefined ? [] : [stage.shell]),
      ...(stage.each === undefined ? [] : [stage.each]),
    ]),
  )
}

/** The key that a run of a stage with these inputs will have. */
export function expectedKey({ cmd, wdir, shell, each, outs }: Stage, { deps, params, env }: StageInputs): Oid {
  return runKey({ cmd, wdir, shell, each, deps, params, env, outs: [...outs].sort((a, b) => compareUtf8(a.path, b.path)) })
}
