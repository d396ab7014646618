import { quotePath, type RepoPath } from '../base/paths.ts'
import type { NewStage } from '../pipeline/edit.ts'
import type { InferredStage } from '../pipeline/trace/infer.ts'
import type { Project } from '../workspace/project.ts'
import type { Context } from './context.ts'

interface InferRequest {
  name: string
  given: NewStage
  force: boolean
  dryRun: boolean
}

async function infer({ output }: Context, project: Project, request: InferRequest): Promise<InferredStage> {
  const [{ inferStage }, { findTracer }, { createShell }, { createStageOutput }] = await Promise.all([
    import('../pipeline/trace/infer.ts'),
    import('../pipeline/trace/strace.ts'),
    import('../pipeline/executor/shell.ts'),
    import('./stage-output.ts'),
  ])
  const shown = createStageOutput(output, 1)
  try {
    return await inferStage(project, request, {
      dryRun: request.dryRun,
      shell: createShell(),
      tracer: await findTracer(project),
      onOutput: (bytes, from) => shown.onOutput(request.name, bytes, from),
    })
  } finally {
    shown.close()
  }
}

/** Runs the command of a new stage, writes the stage as it was seen, and records the run where all of it was. */
export async function inferAndAdd(context: Context, project: Project, request: InferRequest): Promise<void> {
  const { output } = context
  const { name, force, dryRun } = request
  const inferred = await infer(context, project, request)
  const { stage, notes, seen } = inferred
  const [{ formatYaml }, { addStage }, { writePipeline }, { recordInferred }] = await Promise.all([
    import('../base/yaml.ts'),
    import('../pipeline/edit.ts'),
    import('../pipeline/write-pipeline.ts'),
    import('../pipeline/trace/infer.ts'),
  ])
  const written = new Set<RepoPath>()
  const add = (files: RepoPath[]) => {
    for (const file of files) written.add(file)
  }
  let recorded = false
  if (!dryRun) {
    add(await writePipeline(project, (text) => addStage(text, name, { stage, force }), name))
    const files = await recordInferred(project, name, inferred)
    add(files ?? [])
    recorded = files !== undefined
  }
  const files = [...written].sort()
  const ended = recorded
    ? `added stage ${name} and recorded this run; edit mlv.yaml where it says too much or too little`
    : `added stage ${name}; edit mlv.yaml where it says too much or too little, then keep what the command made with "mlv accept ${name}", or run it again with "mlv repro --single-stage --force ${name}"`
  output.answer({ stage: name, ...stage, seen, notes, recorded, written: files }, () => {
    const shown = [formatYaml({ [name]: stage }).trimEnd(), ...notes.map((note) => `note: ${note}`)]
    if (dryRun) return shown.join('\n')
    return output.quiet ? '' : [...shown, ended, `to commit: git add ${files.map(quotePath).join(' ')}`].join('\n')
  })
}
