/** What the outputs of open notebooks and consoles get: a toolbar over every answer, the truth of those that go on, no jump. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISessionContextDialogs } from '@jupyterlab/apputils';
import type { Cell, CodeCell } from '@jupyterlab/cells';
import { type ConsolePanel, IConsoleTracker } from '@jupyterlab/console';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Panel, type Widget } from '@lumino/widgets';

import { IGleitzeit } from '../tokens';
import type { AnswerActions } from './answerActions';
import { AnswerBar } from './AnswerBar';
import { readFacts } from './answers';
import { ConsoleAnswers } from './consoleAnswers';
import { LiveOutputs } from './liveOutputs';
import { NotebookAnswers } from './notebookAnswers';
import { ReadingPlace } from './readingPlace';
import { StandingNotes } from './standingNotes';
import { StillDashboards } from './stillDashboards';

type Answer = [facts: NonNullable<ReturnType<typeof readFacts>>, data: unknown];
type Make = (cell: CodeCell, ...answer: Answer) => AnswerBar;

class AnswerToolbars {
  private readonly seen = new WeakSet<Cell>();
  private readonly bars = new WeakMap<Widget, AnswerBar>();
  private ended: ReadonlySet<CodeCell> = new Set();

  constructor(private readonly make: Make) {}

  /** Cells, of which some may be new. */
  follow(cells: Iterable<Cell>): void {
    for (const cell of cells) {
      if (isCode(cell) && !this.seen.has(cell)) {
        this.seen.add(cell);
        cell.outputArea.outputLengthChanged.connect(() => this.look(cell)); // told after every change of an output, not of their number only
        this.look(cell);
      }
    }
  }

  /** Cells whose kernel is gone: an answer there does not arrive any more, and what came of it can be used. */
  takeEnded(ended: ReadonlySet<CodeCell>): void {
    const changed = [...new Set([...ended, ...this.ended])].filter(cell => !cell.isDisposed && ended.has(cell) !== this.ended.has(cell));
    this.ended = ended;
    changed.forEach(cell => this.look(cell));
  }

  private look(cell: CodeCell): void {
    const { model, widgets } = cell.outputArea;
    widgets.slice(0, model.length).forEach((place, index) => {
      const { metadata, data } = model.get(index);
      const said = readFacts(metadata);
      const facts = said?.state === 'arriving' && this.ended.has(cell) ? { ...said, state: 'cut' as const } : said;
      const bar = this.bars.get(place);
      if (facts && bar) {
        bar.change(facts, data);
      } else if (facts && place instanceof Panel) {
        const made = this.make(cell, facts, data);
        this.bars.set(place, made);
        place.addClass('gz-AnswerOutput');
        place.addWidget(made);
      } else if (bar) {
        this.bars.delete(place);
        place.removeClass('gz-AnswerOutput');
        bar.dispose();
      }
    });
  }
}

function isCode(cell: Cell): cell is CodeCell {
  return cell.model.type === 'code';
}

function watchNotebook({ content }: NotebookPanel, live: LiveOutputs, make: Make): void {
  const toolbars = new AnswerToolbars(make);
  live.changed.connect(() => toolbars.takeEnded(new Set(live.found().flatMap(({ cell, standing }) => (standing === 'ended' ? cell : [])))));
  const onCells = (): void => toolbars.follow(content.widgets);
  const onModel = (): void => {
    content.model?.cells.changed.connect(onCells);
    onCells();
  };
  content.modelChanged.connect(onModel);
  onModel();
}

function watchConsole({ console }: ConsolePanel, make: Make): void {
  const toolbars = new AnswerToolbars(make);
  const onCells = (): void => toolbars.follow(console.cells);
  console.cells.changed.connect(onCells);
  onCells();
}

export const answerToolbars: JupyterFrontEndPlugin<void> = {
  id: 'gleitzeit-nb:answers',
  description: 'Keeps outputs true that go on changing, and puts toolbars over answers: copy, insert and run code, ask another instance.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [IGleitzeit, ISessionContextDialogs, ITranslator, IConsoleTracker],
  activate: (
    _: JupyterFrontEnd,
    notebooks: INotebookTracker,
    gleitzeit: IGleitzeit | null,
    dialogs: ISessionContextDialogs | null,
    translator: ITranslator | null,
    consoles: IConsoleTracker | null
  ): void => {
    const texts = translator ?? nullTranslator;
    const trans = texts.load('gleitzeit_nb');
    const makes =
      (actions: AnswerActions): Make =>
      (cell, ...answer) =>
        new AnswerBar(cell, actions, trans, ...answer);
    const onNotebook = (panel: NotebookPanel): void => {
      new ReadingPlace(panel.content);
      new StillDashboards(panel);
      const live = new LiveOutputs(panel, () => gleitzeit?.following.connections() ?? []);
      new StandingNotes(panel, live, trans);
      watchNotebook(panel, live, makes(new NotebookAnswers(panel, gleitzeit, dialogs, texts)));
    };
    const onConsole = (panel: ConsolePanel): void => watchConsole(panel, makes(new ConsoleAnswers(panel, gleitzeit)));
    notebooks.forEach(onNotebook);
    notebooks.widgetAdded.connect((_, panel) => onNotebook(panel));
    consoles?.forEach(onConsole);
    consoles?.widgetAdded.connect((_, panel) => onConsole(panel));
  }
};
