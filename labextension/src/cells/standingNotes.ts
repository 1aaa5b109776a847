/** Says beside an output that is not final why it may not be true any more. */

import type { NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Panel, Widget } from '@lumino/widgets';

import type { LiveOutput, LiveOutputs } from './liveOutputs';
import type { Standing } from './marks';

const SIGNS: Record<Exclude<Standing, 'following'>, string> = { asking: '…', ended: '■', offline: '⚠' };

/** One below each cell's last such output; in the place of the line of a job, which would claim that it runs. */
export class StandingNotes {
  private readonly notes = new Map<Panel, Note>();

  constructor(
    panel: NotebookPanel,
    private readonly outputs: LiveOutputs,
    private readonly trans: TranslationBundle
  ) {
    outputs.changed.connect(this.draw, this);
    panel.disposed.connect(() => this.notes.clear());
  }

  private draw(): void {
    const wanted = new Map<Panel, LiveOutput>();
    for (const output of this.outputs.found()) {
      const place = output.cell.outputArea.widgets[output.index];
      if (output.standing !== 'following' && place instanceof Panel) {
        this.lastOf(output, wanted);
        wanted.set(place, output);
      }
    }
    for (const [place, note] of this.notes) {
      if (!wanted.has(place)) {
        this.notes.delete(place);
        place.removeClass('gz-mod-superseded');
        note.dispose();
      }
    }
    wanted.forEach((output, place) => this.put(place, output));
  }

  /** Of outputs that follow each other, the line of a job, or the last, speaks for all. */
  private lastOf({ cell, index, standing }: LiveOutput, wanted: Map<Panel, LiveOutput>): void {
    for (const [place, before] of wanted) {
      if (before.cell === cell && before.index === index - 1 && before.standing === standing && before.mark.job === null) {
        wanted.delete(place);
      }
    }
  }

  private put(place: Panel, output: LiveOutput): void {
    let note = this.notes.get(place);
    if (!note) {
      note = new Note();
      this.notes.set(place, note);
      place.addWidget(note);
    }
    place.toggleClass('gz-mod-superseded', output.mark.job !== null);
    note.say(this.words(output));
  }

  private words({ mark: { job }, standing }: LiveOutput): string {
    const { trans } = this;
    switch (standing) {
      case 'following':
        return '';
      case 'asking':
        return sentence(standing, job === null ? '' : trans.__('job %1', job), trans.__('as it stood here last; the kernel is being asked'));
      case 'offline':
        return sentence(standing, job === null ? '' : trans.__('job %1', job), trans.__('as it stood here last; there is no line to the kernel'));
      case 'ended':
        return job === null
          ? sentence(standing, '', trans.__('not whole: the kernel that worked on it is gone, or has forgotten it'))
          : sentence(standing, trans.__('job %1', job), trans.__('not running any more: its kernel is gone, or has forgotten it'));
    }
  }
}

function sentence(standing: Exclude<Standing, 'following'>, ...parts: readonly string[]): string {
  return `${SIGNS[standing]} ${parts.filter(Boolean).join(' · ')}`;
}

class Note extends Widget {
  constructor() {
    super();
    this.addClass('gz-StandingNote');
    this.node.setAttribute('role', 'status');
  }

  say(words: string): void {
    if (this.node.textContent !== words) {
      this.node.textContent = words;
    }
  }
}
