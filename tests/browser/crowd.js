// SPDX-License-Identifier: Apache-2.0
// Several participants in one page: each with a small painted picture, which costs next to nothing.
globalThis.crowd = {
  rooms: [],

  async add(room, name) {
    const { connect } = await import("/client.js");
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [160, 90];
    const context = canvas.getContext("2d");
    let count = 0;
    setInterval(() => {
      context.fillStyle = `hsl(${(count++ * 40) % 360} 80% 50%)`;
      context.fillRect(0, 0, 160, 90);
    }, 200);
    this.rooms.push(await connect(location.origin, { room, name, stream: canvas.captureStream(5) }));
    return true;
  },
};
