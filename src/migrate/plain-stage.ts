import { posix } from 'node:path'
import type { RepoPath } from '../base/paths.ts'
import type { Out, OutRole, Stage } from '../pipeline/stage.ts'

/** `${` would be a template. */
function escapeTemplates(text: string): string {
  return text.replaceAll('${', '\\${')
}

/** A stage as mlv.yaml writes it, without templates. */
export function plainStage(stage: Stage): Record<string, unknown> {
  const pathOf = (path: RepoPath) => escapeTemplates(posix.relative(stage.wdir === '' ? '.' : stage.wdir, path))
  const outOf = (out: Out): unknown => {
    const options = {
      ...(out.persist ? { persist: true } : {}),
      ...(out.git === (out.role !== 'out') ? {} : { git: out.git }),
    }
    return Object.keys(options).length === 0 ? pathOf(out.path) : { [pathOf(out.path)]: options }
  }
  const outsOf = (role: OutRole) => stage.outs.filter((out) => out.role === role).map(outOf)
  const cmd = stage.cmd.map(escapeTemplates)
  const lists = {
    deps: stage.deps.map((dep) => pathOf(dep.path)),
    params: stage.params.map(({ file, key }) => ({ [pathOf(file)]: key === '' ? null : [escapeTemplates(key)] })),
    outs: outsOf('out'),
    metrics: outsOf('metric'),
    plots: outsOf('plot'),
  }
  return {
    ...(stage.desc === undefined ? {} : { desc: escapeTemplates(stage.desc) }),
    cmd: cmd.length === 1 ? cmd[0] : cmd,
    ...(stage.wdir === '' ? {} : { wdir: escapeTemplates(stage.wdir) }),
    ...Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0)),
    ...(stage.frozen ? { frozen: true } : {}),
    ...(stage.always ? { always: true } : {}),
  }
}
