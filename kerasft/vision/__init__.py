"""What tasks that see pictures share: backbones, and pictures of any size brought to one."""
