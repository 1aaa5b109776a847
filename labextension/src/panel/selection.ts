/**
 * Holds the notebook's dashboard still while text in it is selected.
 *
 * Its widget replaces the whole picture at every change, and the kernel cannot know of a selection. So the picture that somebody
 * selects in is put back when it was replaced, before the page is painted again, and the newest one waits until the selection is gone.
 */

const PICTURE = 'section.gz-dash.gz-live';
const HELD = 'gz-held';

type Ends = readonly [anchor: Node, anchorOffset: number, focus: Node, focusOffset: number];

function pictureAround(node: Node | EventTarget | null): Element | null {
  const element = node instanceof Element ? node : node instanceof Node ? node.parentElement : null;
  return element?.closest(PICTURE) ?? null;
}

/** One picture that is held, and the newer one that came meanwhile. */
class Hold {
  private readonly observer = new MutationObserver(() => this.onReplaced());
  private newest: Element | null = null;
  private ends: Ends | null = null;

  constructor(
    readonly picture: Element,
    private readonly home: Element
  ) {
    this.observer.observe(home, { childList: true });
  }

  remember(selection: Selection): void {
    const { anchorNode, anchorOffset, focusNode, focusOffset } = selection;
    if (anchorNode && focusNode && (this.picture.contains(anchorNode) || this.picture.contains(focusNode))) {
      this.ends = [anchorNode, anchorOffset, focusNode, focusOffset];
      this.picture.classList.toggle(HELD, !selection.isCollapsed);
    }
  }

  /** Shows the newest one, if the picture is still there. */
  end(): void {
    this.observer.disconnect();
    this.picture.classList.remove(HELD);
    if (this.newest && this.picture.isConnected) {
      this.picture.replaceWith(this.newest);
    }
  }

  private onReplaced(): void {
    const fresh = this.home.querySelector(PICTURE);
    if (fresh && fresh !== this.picture) {
      this.newest = fresh;
      fresh.replaceWith(this.picture);
      this.observer.takeRecords();
      if (this.ends) {
        document.getSelection()?.setBaseAndExtent(...this.ends);
      }
    }
  }
}

/** Watches the page's selection for as long as the page lives. */
export function holdWhileSelected(): void {
  let hold: Hold | null = null;
  let pressed = false; // between the press and the release of a drag, before which nothing is selected yet

  const follow = (picture: Element | null): void => {
    if (picture !== (hold?.picture ?? null)) {
      hold?.end();
      hold = picture?.parentElement ? new Hold(picture, picture.parentElement) : null;
    }
  };
  const onSelection = (): void => {
    const selection = document.getSelection();
    const selected = selection && !selection.isCollapsed ? pictureAround(selection.anchorNode) ?? pictureAround(selection.focusNode) : null;
    if (selected || !pressed) {
      follow(selected);
    }
    if (selection) {
      hold?.remember(selection);
    }
  };
  const onPress = (event: PointerEvent): void => {
    const picture = pictureAround(event.target);
    if (picture) {
      pressed = true;
      follow(picture);
    }
  };
  const onRelease = (): void => {
    pressed = false;
    onSelection();
  };

  document.addEventListener('selectionchange', onSelection);
  document.addEventListener('pointerdown', onPress, true);
  document.addEventListener('pointerup', onRelease, true);
  document.addEventListener('pointercancel', onRelease, true);
}
