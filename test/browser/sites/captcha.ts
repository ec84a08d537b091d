import { startHttpServer, type LocalServer } from '../../environment/http-server.ts';

/** What the picture of `/read` says. */
export const PUZZLE = 'W4XY';

/** Where things are in the widget of `/tiles`, pixels from its corner. */
export const TILES = {
  right: [{ x: 50, y: 80 }, { x: 250, y: 80 }, { x: 150, y: 170 }],
  secret: { x: 10, y: 10, width: 200, height: 20 },
} as const;

const tile = (name: string, left: number, colour: string): string => `<div data-tile=${name} style="position:absolute;left:${String(left)}px;top:40px;width:80px;height:80px;background:${colour}"></div>`;

/** Pages whose `#state` is `open` once a CAPTCHA is solved: one that is read, one that is clicked and shows `secret` within the widget. */
export async function startCaptchaSite(secret: string): Promise<LocalServer> {
  const read = '<form><img alt="captcha" width=200 height=60 src="data:image/svg+xml,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22 width=%22200%22 height=%2260%22/%3E"><label>Text <input name=captcha autocomplete=off></label></form>';
  const tiles = `<div class="h-captcha" style="position:relative;width:300px;height:200px;background:#fff">
    <div style="position:absolute;left:${String(TILES.secret.x)}px;top:${String(TILES.secret.y)}px;width:${String(TILES.secret.width)}px;height:${String(TILES.secret.height)}px;overflow:hidden">${secret}</div>
    ${tile('one', 10, '#0f0')}${tile('two', 110, '#00f')}${tile('three', 210, '#0f0')}
    <button type=button style="position:absolute;left:100px;top:150px;width:100px;height:40px">Verify</button>
    </div><textarea name=h-captcha-response hidden></textarea>
    <script>
      const chosen = new Set();
      for (const tile of document.querySelectorAll('[data-tile]')) tile.addEventListener('click', () => chosen.add(tile.dataset.tile));
      document.querySelector('.h-captcha button').addEventListener('click', () => {
        if ([...chosen].sort().join() !== 'one,three') return;
        document.querySelector('textarea').value = 'token';
        document.querySelector('#state').textContent = 'open';
      });
    </script>`;
  return startHttpServer(({ path }, response) => {
    const { pathname, searchParams } = new URL(path, 'http://site');
    const body = pathname === '/tiles' ? tiles : read;
    const solved = searchParams.get('captcha') === PUZZLE;
    response.writeHead(200, { 'content-type': 'text/html' }).end(`<!doctype html><title>Shop</title><body style="margin:0">${solved ? '' : body}<p id=state>${solved ? 'open' : 'closed'}</p>`);
  });
}
