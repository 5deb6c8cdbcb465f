/*
 * private_file.c: walks the path part by part, since O_NOFOLLOW is about the last one alone, and links in a folder of
 * one's own are welcome: /dev/stdout is one. Uses libc alone: the program has it too.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "os/private_file.h"

enum { LINKS_MAX = 40 }; /* as the kernel */

struct walk {
	int folder; /* in which the rest begins */
	int links;
	char rest[PATH_MAX];
};

/* Whether somebody else may say what is in it. In a user namespace root is another number: whose the root folder is. */
static bool is_shared(int folder)
{
	struct stat file, root;

	return fstat(folder, &file) || stat("/", &root) || file.st_mode & S_IWOTH ||
	       (file.st_uid && file.st_uid != root.st_uid && file.st_uid != geteuid());
}

/* Its links are made by the kernel, and some lead to what has no path. */
static bool is_proc(int folder)
{
	struct statfs system;

	return !fstatfs(folder, &system) && system.f_type == PROC_SUPER_MAGIC;
}

static int move(struct walk *walk, int folder)
{
	if (folder < 0)
		return -errno;
	if (walk->folder >= 0)
		close(walk->folder);
	walk->folder = folder;
	return 0;
}

/* The path goes on with `text`, and behind that with `rest`. */
static int set_path(struct walk *walk, const char *text, const char *rest)
{
	char path[PATH_MAX];
	int length = snprintf(path, sizeof path, *rest ? "%s/%s" : "%s", text, rest);

	if (length >= (int)sizeof path)
		return -ENAMETOOLONG;
	memcpy(walk->rest, path, (size_t)length + 1);
	if (walk->folder >= 0 && *path != '/')
		return 0;
	return move(walk, open(*path == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

static int follow(struct walk *walk, const char *name, const char *rest)
{
	char text[PATH_MAX];
	ssize_t length;

	if (is_shared(walk->folder) || ++walk->links > LINKS_MAX)
		return -ELOOP;
	length = readlinkat(walk->folder, name, text, sizeof text - 1);
	if (length < 0)
		return -errno;
	text[length] = '\0';
	return set_path(walk, text, rest);
}

static int enter(struct walk *walk, const char *name, const char *rest)
{
	int nofollow = is_proc(walk->folder) ? 0 : O_NOFOLLOW;
	int next = openat(walk->folder, name, O_PATH | O_CLOEXEC | nofollow);
	struct stat file;

	if (next >= 0 && !fstat(next, &file) && S_ISLNK(file.st_mode)) {
		close(next);
		return follow(walk, name, rest);
	}
	memmove(walk->rest, rest, strlen(rest) + 1);
	return move(walk, next);
}

/* It may have been there: laid out by somebody who waits for what will be in it, or another name of a file of ours. */
static bool is_laid(const struct stat *file, int folder)
{
	struct stat around;

	if (fstat(folder, &around) || (file->st_uid != geteuid() && file->st_uid != around.st_uid))
		return true;
	return S_ISREG(file->st_mode) && file->st_nlink > 1;
}

/* Before it is opened: to open somebody's FIFO may take for ever. */
static bool waits_there(int folder, const char *name)
{
	struct stat file;

	return is_shared(folder) && !fstatat(folder, name, &file, AT_SYMLINK_NOFOLLOW) && !S_ISLNK(file.st_mode) &&
	       is_laid(&file, folder);
}

static int check(int folder, int fd)
{
	struct stat file;

	if (fstat(fd, &file))
		return -errno;
	if (is_shared(folder) && is_laid(&file, folder))
		return -EEXIST;
	if (S_ISREG(file.st_mode) && file.st_uid == geteuid() && file.st_mode & (S_IRWXG | S_IRWXO))
		return fchmod(fd, S_IRUSR | S_IWUSR) ? -errno : 0;
	return 0;
}

/* The file itself, or -EAGAIN when it is a link that has been taken into the path. */
static int open_last(struct walk *walk, const char *name)
{
	int nofollow = is_proc(walk->folder) ? 0 : O_NOFOLLOW, error, fd;

	if (waits_there(walk->folder, name))
		return -EEXIST;
	fd = openat(walk->folder, name, O_WRONLY | O_CREAT | O_CLOEXEC | nofollow, S_IRUSR | S_IWUSR);
	if (fd < 0 && errno == ELOOP && nofollow) {
		error = follow(walk, name, "");
		return error ? error : -EAGAIN;
	}
	if (fd < 0)
		return -errno;
	error = check(walk->folder, fd);
	if (!error)
		return fd;
	close(fd);
	return error;
}

/* The first part of the path. The file's descriptor, -errno, or -EAGAIN: there is more to walk. */
static int step(struct walk *walk)
{
	const char *rest = walk->rest + strspn(walk->rest, "/");
	size_t length = strcspn(rest, "/");
	char name[PATH_MAX];
	int error;

	if (!length)
		return *walk->rest ? -EISDIR : -ENOENT;
	memcpy(name, rest, length);
	name[length] = '\0';
	rest += length;
	if (!*rest)
		return open_last(walk, name);
	rest += strspn(rest, "/");
	error = enter(walk, name, *rest ? rest : ".");
	return error ? error : -EAGAIN;
}

int el_private_open(const char *path)
{
	struct walk walk = {.folder = -1};
	int result = set_path(&walk, path, "");

	if (!result)
		do
			result = step(&walk);
		while (result == -EAGAIN);
	if (walk.folder >= 0)
		close(walk.folder);
	return result;
}

int el_private_create(const char *path)
{
	int fd = el_private_open(path);
	struct stat file;

	if (fd >= 0 && !fstat(fd, &file) && S_ISREG(file.st_mode) && ftruncate(fd, 0)) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

const char *el_private_reason(int error)
{
	if (error == -ELOOP)
		return "a link in a folder that others may write to is not followed";
	if (error == -EEXIST)
		return "it is somebody else's, in a folder that others may write to";
	return strerror(-error);
}
